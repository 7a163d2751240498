"""Items of an image dataset for the search loop, the batches made of them, and the two parts that a search needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self, TypeVar

import numpy as np
import torch
from timm.data.mixup import Mixup
from torch import Tensor
from torch.nn.functional import one_hot
from torch.utils.data import Dataset

from knotwork_tasks._datasets import count_for_weights
from knotwork_tasks.images._images import LabelledImages
from knotwork_tasks.images._transforms import Transform

_MIXUP_ALPHA = 0.2
_CUTMIX_ALPHA = 1.0


class ImageItems(Dataset[dict[str, Tensor]]):
    """Images as tensors; item `i` is `{"image": float32 (channels, size, size), "label": int64 ()}`.

    Whatever is random draws on the global generators of torch, numpy and `random` when an item or a batch is made, never
    before: who seeds the three gets the same batch again.

    Args:
        images: with their class numbers.
        transform: of `training_transform` or `evaluation_transform`.
        classes: how many there are.
        mixup: whether `collate` blends each batch with itself, by mixup or CutMix in turn at random.
        label_smoothing: the part of every label that `collate` spreads over all classes.

    Raises:
        ValueError: a class number that is not below `classes`, or a smoothing outside [0, 1).
    """

    def __init__(
        self,
        images: LabelledImages,
        transform: Transform,
        classes: int,
        *,
        mixup: bool = False,
        label_smoothing: float = 0.0,
    ) -> None:
        if not 0.0 <= label_smoothing < 1.0:
            raise ValueError(f"label_smoothing must be at least 0 and below 1, got {label_smoothing}")
        outside = images.targets[(images.targets < 0) | (images.targets >= classes)]
        if len(outside):
            raise ValueError(f"an image has the class number {outside[0]}: {classes} classes are numbered 0 to {classes - 1}")
        self.images, self.transform, self.classes = images, transform, classes
        self.mixup, self.label_smoothing = mixup, label_smoothing
        self._mix = Mixup(_MIXUP_ALPHA, _CUTMIX_ALPHA, label_smoothing=label_smoothing, num_classes=classes)

    @property
    def targets(self) -> np.ndarray:
        """int64 (items,), the class numbers, known without decoding an image."""
        return self.images.targets

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        image, target = self.images[index]
        return {"image": self.transform(image), "label": torch.tensor(target)}

    def select(self, indices: Sequence[int] | np.ndarray) -> ImageItems:
        """The items at these indices, in this order."""
        images = self.images.select(indices)
        return ImageItems(images, self.transform, self.classes, mixup=self.mixup, label_smoothing=self.label_smoothing)

    def collate(self, items: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        """A batch of items, of any number.

        Returns:
            `image`: float32 (batch, channels, size, size). `label`: int64 (batch,); or with mixup or label smoothing
            float32 (batch, classes), rows that sum to 1.
        """
        image = torch.stack([item["image"] for item in items])
        label = torch.stack([item["label"] for item in items])
        if self.mixup:
            image, label = self._mixed(image, label)
        elif self.label_smoothing:
            smooth = self.label_smoothing
            label = one_hot(label, self.classes) * (1.0 - smooth) + smooth / self.classes
        return {"image": image, "label": label}

    def _mixed(self, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        size = len(image)
        if size % 2:  # timm takes even batches only: the last image lends a copy, which leaves again afterwards
            image, label = torch.cat([image, image[-1:]]), torch.cat([label, label[-1:]])
        image, label = self._mix(image, label)
        return image[:size], label[:size]


class Labelled(Protocol):
    """A map-style dataset that knows its class numbers: `LabelledImages` or `ImageItems`."""

    @property
    def targets(self) -> np.ndarray: ...

    def select(self, indices: Sequence[int] | np.ndarray) -> Self: ...


LabelledDataset = TypeVar("LabelledDataset", bound=Labelled)


def split_items(dataset: LabelledDataset, train_portion: float, seed: int = 0) -> tuple[LabelledDataset, LabelledDataset]:
    """The part for the weights, about `train_portion` of every class, and the rest, for the architecture parameters.

    A class of two images or more has at least one in both parts, which may move the portion of a dataset of very small
    classes. Both parts keep the dataset's order, and nothing is decoded.

    Args:
        dataset: anything with `targets` and `select`.
        train_portion: of the images, for the weights.
        seed: draws which images of a class go where.

    Raises:
        ValueError: the portion is not between 0 and 1, or one part would be empty.
    """
    total = len(dataset.targets)
    for_weights = count_for_weights(total, train_portion, "images")
    _, class_of, sizes = np.unique(dataset.targets, return_inverse=True, return_counts=True)
    shuffled = np.random.RandomState(seed).permutation(total)  # its stream is frozen, unlike that of newer generators
    chosen = np.zeros(total, dtype=bool)
    for number, share in enumerate(_shares(sizes, train_portion, for_weights)):
        chosen[shuffled[class_of[shuffled] == number][:share]] = True
    return dataset.select(np.flatnonzero(chosen)), dataset.select(np.flatnonzero(~chosen))


def _shares(sizes: np.ndarray, portion: float, total: int) -> np.ndarray:
    """How many of each class go to the first part: by largest remainder, then at least one image on both sides."""
    exact = sizes * portion
    shares = np.floor(exact).astype(np.int64)
    largest_remainders = np.argsort(shares - exact, kind="stable")
    shares[largest_remainders[: total - shares.sum()]] += 1
    return np.where(sizes > 1, shares.clip(1, np.maximum(sizes - 1, 1)), shares)
