import hashlib
import pickle
from typing import cast

import numpy as np
import pytest
from knotwork_tasks.images import ImageSplits, LabelledImages, load_images
from sklearn.datasets import load_digits
from sklearn.utils import Bunch

from .conftest import pixels


@pytest.fixture(scope="module")
def digits() -> Bunch:
    return cast(Bunch, load_digits())


@pytest.fixture(scope="module")
def splits() -> ImageSplits:
    return load_images()


def test_every_digit_is_there_once_with_its_own_pixels_and_label(splits: ImageSplits, digits: Bunch):
    seen: set[int] = set()
    for images in (splits.train, splits.validation):
        for i in range(len(images)):
            image, label = images[i]
            row = int(images.rows[i])
            seen.add(row)
            assert (image.mode, image.size, label) == ("L", (8, 8), digits.target[row])
            assert np.abs(np.asarray(image) / 255 * 16 - digits.images[row]).max() <= 16 / 255 / 2
    assert seen == set(range(1797))
    assert len(splits.train) + len(splits.validation) == 1797


def test_what_is_said_of_the_digits(splits: ImageSplits):
    assert splits.labels == tuple("0123456789")
    assert (splits.channels, splits.size, splits.skipped) == (1, (8, 8), 0)
    brightest = max(np.asarray(image).max() for image, _ in splits.train)  # pyright: ignore
    assert brightest == 255


def test_a_fifth_of_every_digit_is_held_out(splits: ImageSplits, digits: Bunch):
    assert (len(splits.train), len(splits.validation)) == (1437, 360)
    all_of = np.bincount(digits.target)
    assert np.abs(np.bincount(splits.validation.targets) - all_of / 5).max() < 1


def test_which_digits_are_held_out_never_changes(splits: ImageSplits):
    # Written down once: another choice would change everybody's accuracy.
    held_out = sorted(splits.validation.rows.tolist())
    assert held_out[:10] == [21, 24, 28, 34, 35, 37, 39, 42, 45, 51]
    assert hashlib.sha256(repr(held_out).encode()).hexdigest()[:16] == "9f682b80f7670c11"


def test_the_seed_orders_train_and_leaves_validation(splits: ImageSplits):
    again, other = load_images(seed=0), load_images(seed=1)
    assert pixels(splits.train) == pixels(again.train) != pixels(other.train)
    assert sorted(splits.train.rows) == sorted(other.train.rows)
    assert pixels(splits.validation) == pixels(other.validation)
    assert np.array_equal(splits.validation.targets, other.validation.targets)


def test_images_travel_to_a_worker_process(splits: ImageSplits):
    travelled: LabelledImages = pickle.loads(pickle.dumps(splits.validation))
    assert pixels(travelled) == pixels(splits.validation)


def test_an_index_out_of_range_ends_an_iteration(splits: ImageSplits):
    assert splits.train[-1][1] == splits.train[1436][1]
    with pytest.raises(IndexError):
        splits.train[1437]
