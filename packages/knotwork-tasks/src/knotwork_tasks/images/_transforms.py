"""From an image to the tensor that a network reads, through timm's own pipeline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from knotwork_export import Preprocessing
from PIL import Image
from timm.data.transforms_factory import create_transform
from torch import Tensor
from torchvision.transforms import Compose

from knotwork_tasks.images._images import LabelledImages
from knotwork_tasks.images._splits import ImageSplits

AUGMENTATIONS = ("none", "basic", "timm")
Transform = Callable[[Image.Image], Tensor]

_IMAGES_MEASURED = 2000
_DIGITS_KEPT = 4
_SHIFT_ONE_IN = 8
# mmax9 caps the noise of mstd0.5: at magnitude 10 timm posterises to 0 bits, which Pillow 13 refuses.
_RAND_AUGMENT = "rand-m9-mmax9-mstd0.5-inc1"
_ERASING_PROBABILITY = 0.25
_SMALL = 64


def preprocessing_for(splits: ImageSplits, image_size: int | None = None) -> Preprocessing:
    """The preprocessing that fits these images: resized by the shorter side, cropped to the centre, normalised.

    Mean and std are measured on up to 2,000 training images, spread evenly over the dataset whatever its order, as they
    are after resizing. A channel that never varies gets the std 1.

    Args:
        splits: of `load_images`.
        image_size: height and width of the tensor; by default the shorter side of the first image.

    Raises:
        ValueError: a size below 1.
    """
    size, channels = min(splits.size) if image_size is None else image_size, splits.channels
    unmeasured = Preprocessing(splits.labels, (channels, size, size), (0.0,) * channels, (1.0,) * channels)
    mean, std = _measure(splits.train, _timm_transform(unmeasured, normalize=False))
    return replace(unmeasured, mean=mean, std=std)


def evaluation_transform(preprocessing: Preprocessing) -> Transform:
    """Resize, crop to the centre and normalise: an image to float32 (channels, image_size, image_size)."""
    return _timm_transform(preprocessing)


def training_transform(preprocessing: Preprocessing, augment: str) -> Transform:
    """The evaluation transform with random changes before or after it; the shape of the tensor is the same.

    What they draw comes from the global generators of torch, numpy and `random`, when an image is transformed.

    Args:
        preprocessing: of the images.
        augment: one of

            - `none`: none;
            - `basic`: shifts by up to an eighth of the size (at least one pixel), the border repeated. There is no
              mirroring, for a mirrored digit or letter is another one or none;
            - `timm`: timm's recipe for photographs: random resized crops, mirroring, RandAugment (which includes the
              jitter of colours) and random erasing. Crops hold at least 8% of the image's area, half of it below 64
              pixels, where so small a part shows nothing.

    Raises:
        ValueError: another augmentation.
    """
    if augment == "none":
        return evaluation_transform(preprocessing)
    if augment == "basic":
        return Compose([evaluation_transform(preprocessing), _Shift(max(1, preprocessing.input_size[-1] // _SHIFT_ONE_IN))])
    if augment == "timm":
        return _timm_transform(
            preprocessing,
            is_training=True,
            scale=(0.08, 1.0) if preprocessing.input_size[-1] >= _SMALL else (0.5, 1.0),
            auto_augment=_RAND_AUGMENT,
            re_prob=_ERASING_PROBABILITY,
            re_mode="pixel",
        )
    raise ValueError(f"augment must be one of {list(AUGMENTATIONS)}, got {augment!r}")


class _Shift:
    """Moves a tensor by up to `most` pixels down or up, and right or left, its border repeated."""

    def __init__(self, most: int) -> None:
        self.most = most

    def __call__(self, image: Tensor) -> Tensor:
        down, right = torch.randint(-self.most, self.most + 1, (2,)).tolist()
        _, height, width = image.shape
        # In numpy, as torch's padding starts its threads for every image: where cores are busy, that takes a millisecond.
        rows = image.numpy().take(np.arange(height) - down, axis=1, mode="clip")
        return torch.from_numpy(rows.take(np.arange(width) - right, axis=2, mode="clip"))


def _timm_transform(preprocessing: Preprocessing, **options: Any) -> Transform:
    transform = create_transform(
        input_size=preprocessing.input_size,
        interpolation=preprocessing.interpolation,
        mean=preprocessing.mean,
        std=preprocessing.std,
        crop_pct=preprocessing.crop_pct,
        crop_mode=preprocessing.crop_mode,
        **options,
    )
    return cast(Transform, transform)


def _measure(images: LabelledImages, to_pixels: Transform) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std of each channel, exact up to the rounding at the end."""
    in_source_order = np.argsort(images.rows, kind="stable")
    wanted = min(len(images), _IMAGES_MEASURED)
    total, squares, count = torch.tensor(0), torch.tensor(0), 0
    for image, _ in images.select(in_source_order[np.arange(wanted) * len(images) // wanted]):
        pixels = to_pixels(image).long().flatten(1)
        total = total + pixels.sum(1)
        squares = squares + pixels.square().sum(1)
        count += pixels.shape[1]
    sums = list(zip(total.tolist(), squares.tolist(), strict=True))
    mean = tuple(round(channel / (255 * count), _DIGITS_KEPT) for channel, _ in sums)
    # In Python's integers up to the root, as a difference of two large numbers.
    std = tuple(round(((square * count - channel**2) ** 0.5) / (255 * count), _DIGITS_KEPT) for channel, square in sums)
    return mean, tuple(deviation or 1.0 for deviation in std)
