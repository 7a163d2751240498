import random
import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from knotwork_export import Preprocessing
from knotwork_tasks.images import (
    AUGMENTATIONS,
    ImageSplits,
    evaluation_transform,
    load_images,
    preprocessing_for,
    training_transform,
)
from knotwork_tasks.images import _transforms as transforms_module
from PIL import Image
from timm.data.config import resolve_data_config
from timm.data.transforms_factory import create_transform
from torch import Tensor

from .conftest import in_memory, noise, preprocessing

PLAIN = {1: preprocessing(8, 1, (0.0,), (1.0,)), 3: preprocessing(8, 3, (0.0,) * 3, (1.0,) * 3)}


def splits_of(images: list[Image.Image]) -> ImageSplits:
    first = images[0]
    channels = 1 if first.mode == "L" else 3
    return ImageSplits(in_memory(images), in_memory(images), ("a", "b"), channels, (first.height, first.width), 0)


def as_array(image: Image.Image) -> np.ndarray:
    """float64 (channels, height, width) from 0 to 1."""
    array = np.asarray(image, dtype=np.float64) / 255
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


@settings(deadline=None, max_examples=20)
@given(mode=st.sampled_from(["L", "RGB"]), size=st.integers(1, 12), count=st.integers(1, 6), seed=st.integers(0, 1000))
def test_mean_and_std_are_those_of_all_pixels(mode: str, size: int, count: int, seed: int):
    images = [noise(seed + i, mode, (size, size)) for i in range(count)]
    measured = preprocessing_for(splits_of(images))
    pixels = np.stack([as_array(image) for image in images])
    mean, std = pixels.mean((0, 2, 3)), pixels.std((0, 2, 3))
    std[std < 5e-5] = 1  # one pixel alone has no spread
    assert np.abs(mean - measured.mean).max() <= 5.1e-5
    assert np.abs(std - measured.std).max() <= 5.1e-5
    assert [round(value, 4) for value in (*measured.mean, *measured.std)] == [*measured.mean, *measured.std]


def test_the_digits_own_preparation():
    splits = load_images()
    measured = preprocessing_for(splits)
    pixels = np.stack([as_array(image) for image, _ in splits.train])  # pyright: ignore
    mean, std = (round(pixels.mean(), 4),), (round(pixels.std(), 4),)
    assert measured == Preprocessing(splits.labels, (1, 8, 8), mean, std, "bicubic", 1.0, "center")
    assert measured == preprocessing_for(load_images(seed=3))
    prepared = torch.stack([evaluation_transform(measured)(image) for image, _ in splits.train])  # pyright: ignore
    assert abs(prepared.mean()) < 1e-3
    assert abs(prepared.std() - 1) < 1e-3


def test_up_to_2000_images_are_measured_whatever_their_order(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(transforms_module, "_IMAGES_MEASURED", 5)
    splits = splits_of([noise(i) for i in range(23)])
    measured = [noise(i) for i in (0, 4, 9, 13, 18)]
    assert preprocessing_for(splits) == preprocessing_for(splits_of(measured))
    shuffled = in_memory([noise(i) for i in range(23)]).select(np.random.RandomState(0).permutation(23))
    reordered = ImageSplits(shuffled, shuffled, ("a", "b"), 1, (6, 6), 0)
    assert preprocessing_for(reordered) == preprocessing_for(splits)


@pytest.mark.parametrize(("size", "given_size", "expected"), [((6, 6), None, 6), ((9, 5), None, 5), ((5, 9), 7, 7)])
def test_the_size_is_given_or_the_shorter_side(size: tuple[int, int], given_size: int | None, expected: int):
    assert preprocessing_for(splits_of([noise(i, "L", size) for i in range(3)]), given_size).input_size == (
        1,
        expected,
        expected,
    )


def test_pixels_are_measured_after_resizing():
    board = Image.fromarray((np.indices((16, 16)).sum(0) % 2 * 255).astype(np.uint8))
    assert preprocessing_for(splits_of([board])).std == (0.5,)
    assert preprocessing_for(splits_of([board]), 4).std[0] < 0.1


def test_channels_that_never_vary():
    measured = preprocessing_for(splits_of([Image.new("RGB", (4, 4), (255, 0, 51))] * 3))
    assert (measured.mean, measured.std) == ((1.0, 0.0, 0.2), (1.0, 1.0, 1.0))


@pytest.mark.parametrize("size", [0, -8])
def test_a_size_that_is_none(size: int):
    with pytest.raises(ValueError, match=re.escape(f"input_size is (1, {size}, {size}): expected")):
        preprocessing_for(splits_of([noise(0)]), size)


@settings(deadline=None, max_examples=30)
@given(mode=st.sampled_from(["L", "RGB"]), seed=st.integers(0, 1000), mean=st.floats(0, 1), std=st.floats(0.05, 2))
def test_normalisation_is_exact_where_nothing_is_resized(mode: str, seed: int, mean: float, std: float):
    image = noise(seed, mode, (8, 8))
    channels = len(as_array(image))
    measured = preprocessing(8, channels, (mean,) * channels, (std,) * channels)
    expected = (as_array(image) - mean) / std
    for transform in (evaluation_transform(measured), training_transform(measured, "none")):
        prepared = transform(image)
        assert prepared.dtype == torch.float32
        assert prepared.shape == (channels, 8, 8)
        assert np.abs(prepared.double().numpy() - expected).max() <= 1e-5 * max(1, 1 / std)


@pytest.mark.parametrize("size", [(8, 8), (8, 13), (13, 8), (5, 5), (40, 20)])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_evaluation_is_what_timm_does_from_a_models_own_config(mode: str, size: tuple[int, int]):
    channels = 1 if mode == "L" else 3
    measured = preprocessing(8, channels, (0.3, 0.4, 0.5)[:channels], (0.2, 0.3, 0.4)[:channels])
    pretrained = {
        "input_size": (channels, 8, 8),
        "mean": measured.mean,
        "std": measured.std,
        "interpolation": measured.interpolation,
        "crop_pct": measured.crop_pct,
    }
    timm_transform: Any = create_transform(**resolve_data_config(pretrained_cfg=pretrained))
    image = noise(1, mode, size)
    assert torch.equal(evaluation_transform(measured)(image), timm_transform(image))


def test_a_wide_image_is_cropped_to_its_centre():
    image = noise(1, "L", (8, 12))
    assert np.abs(evaluation_transform(PLAIN[1])(image).numpy() - as_array(image)[:, :, 2:10]).max() < 1e-6


@pytest.mark.parametrize("augment", AUGMENTATIONS)
@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("size", [1, 2, 7, 8, 28, 64])
@pytest.mark.filterwarnings("error")
def test_every_augmentation_keeps_the_shape(augment: str, mode: str, size: int):
    channels = 1 if mode == "L" else 3
    transform = training_transform(preprocessing(size, channels, (0.4,) * channels, (0.2,) * channels), augment)
    for seed in range(20):
        prepared = transform(noise(seed, mode, (size + seed % 3, size + seed % 5)))
        assert prepared.dtype == torch.float32
        assert prepared.shape == (channels, size, size)
        assert prepared.isfinite().all()


def shifted(image: Tensor, down: int, right: int) -> Tensor:
    """By loops, the border repeated."""
    moved = torch.empty_like(image)
    _, height, width = image.shape
    for y in range(height):
        for x in range(width):
            moved[:, y, x] = image[:, min(max(y - down, 0), height - 1), min(max(x - right, 0), width - 1)]
    return moved


@pytest.mark.parametrize(("size", "most"), [(8, 1), (7, 1), (3, 1), (16, 2), (28, 3)])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_basic_is_every_small_shift_and_nothing_else(mode: str, size: int, most: int):
    channels = 1 if mode == "L" else 3
    measured = preprocessing(size, channels, (0.4,) * channels, (0.2,) * channels)
    image = noise(3, mode, (size, size))
    still = evaluation_transform(measured)(image)
    steps = range(-most, most + 1)
    expected = {shifted(still, down, right).numpy().tobytes() for down in steps for right in steps}
    transform = training_transform(measured, "basic")
    torch.manual_seed(0)
    assert {transform(image).numpy().tobytes() for _ in range(40 * len(expected))} == expected


def test_timm_repeats_what_the_global_generators_say():
    for channels, mode in ((1, "L"), (3, "RGB")):
        transform = training_transform(PLAIN[channels], "timm")
        drawn = []
        for seed in (1, 1, 2):
            random.seed(seed)
            np.random.seed(seed)
            torch.manual_seed(seed)
            drawn.append(torch.stack([transform(noise(i, mode, (8, 8))) for i in range(16)]))
        assert torch.equal(drawn[0], drawn[1])
        assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_timm_survives_the_strongest_magnitude(mode: str, monkeypatch: pytest.MonkeyPatch):
    # At magnitude 10, timm 1.0 posterises to 0 bits, which Pillow 13 refuses: one draw in some 600, without the cap.
    monkeypatch.setattr(random, "gauss", lambda mean, deviation: mean + 10 * deviation)
    transform = training_transform(PLAIN[1 if mode == "L" else 3], "timm")
    for seed in range(200):
        transform(noise(seed, mode, (8, 8)))


def test_timm_erases_one_image_in_four_by_noise():
    transform = training_transform(preprocessing(32, 1, (0.0,), (1.0,)), "timm")
    white = Image.new("L", (32, 32), 255)
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    # Noise is the only thing that goes above white or below black.
    erased = sum(bool((prepared > 1).any() or (prepared < 0).any()) for prepared in (transform(white) for _ in range(400)))
    assert 70 <= erased <= 130


@pytest.mark.parametrize("augment", ["", "rand-m9", "Basic"])
def test_an_unknown_augmentation(augment: str):
    with pytest.raises(ValueError, match=rf"augment must be one of \['none', 'basic', 'timm'\], got '{augment}'"):
        training_transform(PLAIN[1], augment)
