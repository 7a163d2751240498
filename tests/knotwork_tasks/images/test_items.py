import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from knotwork_tasks.images import ImageItems, evaluation_transform, load_images, training_transform
from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from .conftest import in_memory, noise, preprocessing

PREPARATION = preprocessing(6, 1, (0.5,), (0.25,))


def items_of(count: int, classes: int = 3, **options: bool | float) -> ImageItems:
    images = in_memory([noise(i) for i in range(count)], [i % classes for i in range(count)])
    return ImageItems(images, evaluation_transform(PREPARATION), classes, **options)  # pyright: ignore


def seed_all(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def batch_of(items: ImageItems) -> dict[str, Tensor]:
    return items.collate([items[i] for i in range(len(items))])


def test_an_item_is_the_prepared_image_and_its_label():
    items = items_of(5)
    assert len(items) == 5
    for i in range(5):
        item = items[i]
        assert sorted(item) == ["image", "label"]
        assert torch.equal(item["image"], evaluation_transform(PREPARATION)(noise(i)))
        assert item["image"].dtype == torch.float32
        assert item["label"].dtype == torch.int64
        assert item["label"].shape == ()
        assert int(item["label"]) == items.targets[i] == i % 3


@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_a_plain_batch_is_the_default_one(count: int):
    items = items_of(count)
    batch, default = batch_of(items), default_collate([items[i] for i in range(count)])
    assert batch["label"].dtype == torch.int64
    for key in ("image", "label"):
        assert torch.equal(batch[key], default[key])


@settings(deadline=None, max_examples=30)
@given(count=st.integers(1, 9), classes=st.integers(1, 12), smoothing=st.floats(0.01, 0.99))
def test_label_smoothing_spreads_its_part_evenly(count: int, classes: int, smoothing: float):
    items = items_of(count, classes, label_smoothing=smoothing)
    batch = batch_of(items)
    assert batch["label"].dtype == torch.float32
    assert torch.equal(batch["image"], batch_of(items_of(count, classes))["image"])
    for i in range(count):
        for label in range(classes):
            expected = smoothing / classes + (1 - smoothing if label == i % classes else 0)
            assert abs(float(batch["label"][i, label]) - expected) < 1e-6


@settings(deadline=None, max_examples=60)
@given(
    count=st.integers(1, 9),
    classes=st.integers(2, 12),
    smoothing=st.sampled_from([0.0, 0.1, 0.5]),
    seed=st.integers(0, 10_000),
)
def test_mixup_blends_two_images_and_their_labels_alike(count: int, classes: int, smoothing: float, seed: int):
    items = items_of(count, classes, mixup=True, label_smoothing=smoothing)
    plain = batch_of(items_of(count, classes))["image"]
    seed_all(seed)
    mixed = batch_of(items)
    assert mixed["image"].shape == plain.shape
    assert mixed["image"].dtype == mixed["label"].dtype == torch.float32
    assert mixed["label"].shape == (count, classes)
    assert (mixed["label"].sum(1) - 1).abs().max() < 1e-5
    assert (mixed["label"] >= 0).all()
    whole = count + count % 2  # the last of an odd batch stands in twice
    for i in range(count):
        j = min(whole - 1 - i, count - 1)
        blended = mixed["image"][i]
        kept = share(blended, plain[i], plain[j])
        label = torch.full((classes,), smoothing / classes)
        label[i % classes] += (1 - smoothing) * kept
        label[j % classes] += (1 - smoothing) * (1 - kept)
        assert (mixed["label"][i] - label).abs().max() < 1e-4


def share(blended: Tensor, one: Tensor, other: Tensor) -> float:
    """Which part of an image comes from `one`: as a weight of all pixels, or as a count of pixels."""
    differing = one != other
    if not differing.any():
        return 1.0
    weights = ((blended - other) / (one - other))[differing]
    if (weights - weights.mean()).abs().max() < 1e-3:
        return float(weights.mean())
    from_one, from_other = blended == one, blended == other
    assert (from_one | from_other).all()
    pasted = (~from_one)[0].nonzero()
    (top, left), (bottom, right) = pasted.amin(0).tolist(), pasted.amax(0).tolist()
    # The pasted rectangle, whose edge may by chance hold pixels that are the same in both.
    return 1 - (bottom - top + 1) * (right - left + 1) / one[0].numel()


def test_both_kinds_of_mixing_occur():
    items, plain = items_of(8, mixup=True), batch_of(items_of(8))["image"]
    pasted = 0
    seed_all(0)
    for _ in range(100):
        image = batch_of(items)["image"]
        pasted += bool(((image == plain) | (image == plain.flip(0))).all())
    assert 25 <= pasted <= 75


def test_mixing_leaves_the_items_alone():
    items = items_of(4, mixup=True)
    made = [items[i] for i in range(4)]
    before = [item["image"].clone() for item in made]
    seed_all(1)
    items.collate(made)
    assert all(torch.equal(item["image"], image) for item, image in zip(made, before, strict=True))


@pytest.mark.parametrize("augment", ["basic", "timm"])
@pytest.mark.parametrize("mixup", [False, True])
def test_a_batch_is_a_function_of_the_global_seeds(augment: str, mixup: bool):
    images = load_images().train.select(range(33))
    transform = training_transform(preprocessing(8, 1, (0.3,), (0.4,)), augment)
    items = ImageItems(images, transform, 10, mixup=mixup, label_smoothing=0.1)
    drawn = []
    for seed in (4, 4, 5):
        seed_all(seed)
        drawn.append(batch_of(items))
    rebuilt = ImageItems(images, transform, 10, mixup=mixup, label_smoothing=0.1)
    seed_all(4)
    drawn.append(batch_of(rebuilt))
    for other in (drawn[1], drawn[3]):
        assert torch.equal(drawn[0]["image"], other["image"])
        assert torch.equal(drawn[0]["label"], other["label"])
    assert not torch.equal(drawn[0]["image"], drawn[2]["image"])
    assert torch.equal(drawn[0]["label"], drawn[2]["label"]) is not mixup


def test_without_augmentation_nothing_is_drawn():
    items = items_of(6, label_smoothing=0.1)
    seed_all(0)
    states = torch.random.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # pyright: ignore
    batch_of(items)
    assert torch.equal(torch.random.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # pyright: ignore
    assert random.getstate() == states[2]


def test_items_load_in_workers():
    items = items_of(7, mixup=True)
    loader = DataLoader(items, batch_size=3, num_workers=1, collate_fn=items.collate)
    assert [len(batch["label"]) for batch in loader] == [3, 3, 1]


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, 2.0, float("nan")])
def test_a_smoothing_out_of_range(smoothing: float):
    with pytest.raises(ValueError, match=f"label_smoothing must be at least 0 and below 1, got {smoothing}"):
        items_of(2, label_smoothing=smoothing)


def test_more_labels_than_classes():
    images = in_memory([noise(0), noise(1)], [0, 3])
    with pytest.raises(ValueError, match="an image has the class number 3: 3 classes are numbered 0 to 2"):
        ImageItems(images, evaluation_transform(PREPARATION), 3)
