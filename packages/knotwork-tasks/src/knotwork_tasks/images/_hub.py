"""Images from a dataset on the Hugging Face Hub."""

from __future__ import annotations

from typing import Any

import datasets
import numpy as np
from datasets import ClassLabel, Dataset, DatasetDict, Value
from PIL import Image

from knotwork_tasks._datasets import SourceError
from knotwork_tasks.images._splits import ACCEPTED, ImageSplits, ListedSplit, assemble, require_every_class

_VALIDATION_SPLITS = ("validation", "test")
_LABEL_NAMES = ("label", "labels", "fine_label", "class", "target")
_UNLABELLED = -1


class _Rows:
    """Reads the image of a row of a Hub dataset, which `datasets` decodes and turns upright."""

    def __init__(self, dataset: Dataset, column: str) -> None:
        self.dataset, self.column = dataset.select_columns([column]), column

    def __call__(self, row: int) -> Image.Image:
        return self.dataset[row][self.column]


def hub_images(name: str, image_column: str | None, label_column: str | None) -> ImageSplits:
    """The splits of a Hub dataset: its own validation (else test) split where that has labels, else images held out.

    Raises:
        SourceError: it cannot be loaded, has no train split, or not exactly one column of images and one of labels.
    """
    try:
        loaded = datasets.load_dataset(name)
    except Exception as error:  # the Hub's client, the network and each file format have their own
        raise SourceError(
            f"{name!r} is not a local folder, and could not be loaded from the Hub "
            f"({type(error).__name__}: {error}); {ACCEPTED}"
        ) from error
    assert isinstance(loaded, DatasetDict)  # as neither a single split nor a stream was asked for
    if "train" not in loaded:
        raise SourceError(f"{name!r} has no 'train' split; its splits are {sorted(map(str, loaded))}")
    features: dict[str, Any] = dict(loaded["train"].features)
    image_column = _image_column(name, features, image_column)
    label_column = _label_column(name, features, label_column)
    train = _listed(name, "train", loaded["train"], image_column, label_column)
    names: list[str] | range = getattr(features[label_column], "names", None) or range(int(train.targets.max(initial=0)) + 1)
    require_every_class(name, train.targets, names)  # also before any image is decoded: that takes a while
    validation = None
    for split in _VALIDATION_SPLITS:
        if split in loaded:
            listed = _listed(name, split, loaded[split], image_column, label_column)
            if (listed.targets != _UNLABELLED).any():  # a test split often comes without its labels
                validation = listed
                break
    return assemble(name, [str(label) for label in names], train, validation)


def _listed(source: str, split: str, dataset: Dataset, image_column: str, label_column: str) -> ListedSplit:
    missing = [column for column in (image_column, label_column) if column not in dataset.column_names]
    if missing:
        raise SourceError(f"{source!r}: its {split} split has no column {missing[0]!r}; its columns are {dataset.column_names}")
    labels = dataset.select_columns([label_column])[:][label_column]
    targets = np.asarray([_UNLABELLED if label is None else label for label in labels], dtype=np.int64)
    return ListedSplit(split, _Rows(dataset, image_column), [str(row) for row in range(len(dataset))], targets)


def _image_column(source: str, features: dict[str, Any], requested: str | None) -> str:
    candidates = [column for column, feature in features.items() if isinstance(feature, datasets.Image)]
    return _one_of(source, features, requested, candidates, "images", "--image-column")


def _label_column(source: str, features: dict[str, Any], requested: str | None) -> str:
    named = [column for column, feature in features.items() if isinstance(feature, ClassLabel)]
    numbers = [column for column, feature in features.items() if _is_integer(feature)]
    if requested is None:
        numbers = [column for column in numbers if column in _LABEL_NAMES]
        return _one_of(source, features, None, named or numbers, "class numbers", "--label-column")
    return _one_of(source, features, requested, named + numbers, "class numbers", "--label-column")


def _is_integer(feature: Any) -> bool:
    return isinstance(feature, Value) and feature.dtype.startswith(("int", "uint"))


def _one_of(
    source: str, features: dict[str, Any], requested: str | None, candidates: list[str], content: str, flag: str
) -> str:
    """The requested candidate, or the only one."""
    if requested is not None:
        if requested in candidates:
            return requested
        fault = f"does not hold {content}" if requested in features else "does not exist"
        raise SourceError(f"{source!r}: the column {requested!r} {fault}; give {flag} one of {candidates or sorted(features)}")
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise SourceError(f"{source!r} has several columns of {content}, {candidates}: choose one with {flag}")
    raise SourceError(f"{source!r} has no column of {content}; its columns are {sorted(features)} (see {flag})")
