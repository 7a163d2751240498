"""Scikit-learn's 1,797 handwritten digits of 8x8 pixels: images that come with the installation."""

from typing import Any, cast

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from knotwork_tasks.images._images import LabelledImages
from knotwork_tasks.images._splits import ImageSplits

_BRIGHTEST = 16


class _Digits:
    """Reads a row of an array: uint8 (images, height, width)."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels

    def __call__(self, row: int) -> Image.Image:
        return Image.fromarray(self.pixels[row])


def digit_images() -> ImageSplits:
    """1,437 digits for training and 360 for validation, stratified.

    The split is scikit-learn's own `train_test_split(test_size=0.2, stratify=target, random_state=0)`, so that others can
    compare with it in one line.
    """
    digits = cast(Any, load_digits())
    pixels = np.rint(digits.images * (255 / _BRIGHTEST)).astype(np.uint8)
    rows = np.arange(len(pixels))
    train, validation = train_test_split(rows, test_size=0.2, stratify=digits.target, random_state=0)
    images = LabelledImages(_Digits(pixels), rows, digits.target)
    return ImageSplits(
        train=images.select(np.sort(train)),
        validation=images.select(np.sort(validation)),
        labels=tuple(str(name) for name in digits.target_names),
        channels=1,
        size=(pixels.shape[1], pixels.shape[2]),
        skipped=0,
    )
