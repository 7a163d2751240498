from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from knotwork_tasks.images import ImageItems, LabelledImages, evaluation_transform, split_items
from PIL import Image

from .conftest import preprocessing


def undecodable(targets: list[int]) -> LabelledImages:
    def read(row: int) -> Image.Image:
        raise AssertionError("a split decodes nothing")

    return LabelledImages(read, range(len(targets)), targets)


@settings(deadline=None)
@given(
    targets=st.lists(st.sampled_from([0, 1, 2, 7]), min_size=1, max_size=80),
    portion=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**32 - 1),
)
def test_parts_are_disjoint_whole_and_stratified(targets: list[int], portion: float, seed: int):
    total, expected = len(targets), round(len(targets) * portion)
    if expected in (0, total):
        with pytest.raises(ValueError, match=f"train_portion {portion} of {total} images leaves {expected} for the weights"):
            split_items(undecodable(targets), portion, seed)
        return
    weights, architecture = split_items(undecodable(targets), portion, seed)
    assert sorted([*weights.rows, *architecture.rows]) == list(range(total))
    for part in (weights, architecture):
        assert len(part) > 0
        assert part.rows.tolist() == sorted(part.rows)
        assert part.targets.tolist() == [targets[row] for row in part.rows]
    counts = Counter(weights.targets.tolist())
    for target, size in Counter(targets).items():
        if size > 1:
            assert 0 < counts[target] < size
        assert abs(counts[target] - size * portion) < 1 or counts[target] in (1, size - 1)
    if all(1 <= size * portion <= size - 1 for size in Counter(targets).values()):
        assert len(weights) == expected


@given(sizes=st.lists(st.integers(2, 40), min_size=2, max_size=6))
def test_a_half_of_each_class(sizes: list[int]):
    targets = [target for target, size in enumerate(sizes) for _ in range(size)]
    weights, architecture = split_items(undecodable(targets), 0.5)
    for part in (weights, architecture):
        counts = np.bincount(part.targets, minlength=len(sizes))
        assert np.abs(counts - np.asarray(sizes) / 2).max() <= 0.5


def test_the_seed_draws_the_parts_and_repeats_them():
    images = undecodable([i % 3 for i in range(60)])
    first, again, other = (split_items(images, 0.8, seed=seed)[0].rows.tolist() for seed in (1, 1, 2))
    assert first == again != other
    # Written down once: a resumed run must find its parts again, with any version of numpy.
    assert split_items(undecodable([0, 1] * 6), 0.5)[0].rows.tolist() == [1, 4, 6, 7, 10, 11]


def test_parts_of_items_prepare_as_the_whole_does():
    images = LabelledImages(lambda row: Image.new("L", (4, 4), row), range(20), [i % 2 for i in range(20)])
    measured = preprocessing(4, 1, (0.0,), (1.0,))
    items = ImageItems(images, evaluation_transform(measured), 2, mixup=True, label_smoothing=0.2)
    weights, architecture = split_items(items, 0.7)
    for part, count in ((weights, 14), (architecture, 6)):
        assert isinstance(part, ImageItems)
        assert len(part) == count
        assert part[0]["image"].shape == (1, 4, 4)
        assert float(part[1]["image"][0, 0, 0]) == pytest.approx(part.images.rows[1] / 255)
        assert (part.transform, part.classes, part.mixup, part.label_smoothing) == (items.transform, 2, True, 0.2)


@pytest.mark.parametrize("portion", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_a_portion_out_of_range(portion: float):
    with pytest.raises(ValueError, match=f"train_portion must lie between 0 and 1, got {portion}"):
        split_items(undecodable([0, 1, 0, 1]), portion)


def test_an_empty_part():
    with pytest.raises(ValueError, match=r"train_portion 0\.01 of 10 images leaves 0 for the weights and 10 for"):
        split_items(undecodable([0, 1] * 5), 0.01)
    with pytest.raises(ValueError, match=r"train_portion 0\.5 of 0 images leaves 0 for the weights and 0 for"):
        split_items(undecodable([]), 0.5)
