"""The training and validation images of a source, and the checks that folders and Hub datasets share."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np
from PIL import Image

from knotwork_tasks._datasets import SourceError
from knotwork_tasks.images._images import COLOUR, GREY, LabelledImages, ReadImage, in_mode
from knotwork_tasks.images._scan import scan

ACCEPTED = (
    "accepted are 'digits', a folder with train/CLASS/*.png and maybe validation/ or test/ beside it, "
    "or a Hub dataset such as 'uoft-cs/cifar10'"
)
HELD_OUT_ONE_IN = 10
_LABELS_NAMED = 10


@dataclass(frozen=True)
class ImageSplits:
    """Training and validation images.

    Attributes:
        train: every class has at least one of them.
        validation: never trained on.
        labels: the classes' names, by class number.
        channels: 1 where all images are grey, else 3.
        size: (height, width) of the first image; the others may differ.
        skipped: how many images were left out of both splits because they could not be decoded.
    """

    train: LabelledImages
    validation: LabelledImages
    labels: tuple[str, ...]
    channels: int
    size: tuple[int, int]
    skipped: int


@dataclass(frozen=True)
class ListedSplit:
    """A split as its source lists it: nothing has been decoded, and some images may be broken.

    Attributes:
        name: of the split, for messages.
        read: the image of a row, in whatever mode it is stored.
        keys: what identifies each image wherever the source is stored.
        targets: int64 (images,).
    """

    name: str
    read: ReadImage
    keys: Sequence[str]
    targets: np.ndarray


@dataclass(frozen=True)
class _UsableSplit:
    listed: ListedSplit
    rows: np.ndarray
    grey: bool

    @property
    def targets(self) -> np.ndarray:
        return self.listed.targets[self.rows]

    @property
    def broken(self) -> int:
        return len(self.listed.keys) - len(self.rows)

    def images(self, mode: str) -> LabelledImages:
        return LabelledImages(partial(_read_in_mode, self.listed.read, mode), self.rows, self.targets)


def assemble(source: str, labels: Sequence[str], train: ListedSplit, validation: ListedSplit | None) -> ImageSplits:
    """The splits without their broken images, in the one mode that holds them all.

    Args:
        source: the dataset's name, for messages.
        labels: class names by class number.
        train: its class numbers index `labels`.
        validation: None to hold out one training image in ten of every class.

    Raises:
        SourceError: there are fewer than two classes, one without a training image or (to hold out) with only one, a
            validation image of no class, or a split without any readable image.
    """
    if len(labels) < 2:
        raise SourceError(f"{source!r} holds the one class {list(labels)}: at least 2 are needed to tell apart")
    splits = [_usable(source, split) for split in (train, validation) if split is not None]
    require_every_class(source, splits[0].targets, labels, splits[0].broken)
    mode = GREY if all(split.grey for split in splits) else COLOUR
    images = [split.images(mode) for split in splits]
    first, _ = images[0][0]
    if validation is None:
        keys = [train.keys[int(row)] for row in splits[0].rows]
        images = _hold_out(source, images[0], keys, labels)
    else:
        _require_known(source, validation.name, images[1].targets, len(labels))
    return ImageSplits(
        train=images[0],
        validation=images[1],
        labels=tuple(labels),
        channels=1 if mode == GREY else 3,
        size=(first.height, first.width),
        skipped=sum(split.broken for split in splits),
    )


def require_every_class(source: str, targets: np.ndarray, labels: Sequence[str] | range, broken: int = 0) -> None:
    """Check that the class numbers of training images are 0 to `len(labels) - 1`, each at least once.

    Raises:
        SourceError: a number is outside, or missing.
    """
    _require_known(source, "train", targets, len(labels))
    present = set(targets.tolist())
    missing = list(islice((i for i in range(len(labels)) if i not in present), _LABELS_NAMED + 1))
    if missing:
        named = [str(i) if labels[i] in (i, str(i)) else f"{i} ({labels[i]!r})" for i in missing[:_LABELS_NAMED]]
        more = " and more" if len(missing) > _LABELS_NAMED else ""
        skipped = f" ({broken} broken images were skipped)" if broken else ""
        raise SourceError(
            f"{source!r} has no training image of label {', '.join(named)}{more}{skipped}: labels must run from 0 to "
            f"{len(labels) - 1} without a gap; add images of these, or number the classes anew"
        )


def _require_known(source: str, split: str, targets: np.ndarray, classes: int) -> None:
    unknown = sorted({int(target) for target in targets if not 0 <= target < classes})
    if unknown:
        raise SourceError(
            f"{source!r}: its {split} split holds images of label {', '.join(map(str, unknown[:_LABELS_NAMED]))}; "
            f"the labels of training run from 0 to {classes - 1}"
        )


def _usable(source: str, split: ListedSplit) -> _UsableSplit:
    count = len(split.keys)
    if count == 0:
        raise SourceError(f"{source!r} is empty: its {split.name} split holds no images")
    found = scan(split.read, count)
    if not found.usable:
        raise SourceError(f"{source!r}: none of the {count} images of its {split.name} split can be read ({found.fault})")
    return _UsableSplit(split, np.asarray(found.usable), found.grey)


def _hold_out(source: str, images: LabelledImages, keys: Sequence[str], labels: Sequence[str]) -> list[LabelledImages]:
    """One image in ten of every class, at least one, for validation.

    They are the first ones by a hash of their keys, so that neither the machine nor the order of listing matters.
    """
    # Python's own hash() differs between processes.
    order = sorted(range(len(keys)), key=lambda i: hashlib.blake2b(keys[i].encode("utf-8", "surrogateescape")).digest())
    ranked = np.asarray(order)
    held_out = np.zeros(len(images), dtype=bool)
    for target, label in enumerate(labels):
        of_class = ranked[images.targets[ranked] == target]
        if len(of_class) < 2:
            raise SourceError(
                f"{source!r} has one image of class {label!r} and no validation split: at least 2 are needed, one of them "
                "to be held out; add images or a validation split"
            )
        held_out[of_class[: max(1, round(len(of_class) / HELD_OUT_ONE_IN))]] = True
    return [images.select(np.flatnonzero(~held_out)), images.select(np.flatnonzero(held_out))]


def _read_in_mode(read: ReadImage, mode: str, row: int) -> Image.Image:
    return in_mode(read(row), mode)
