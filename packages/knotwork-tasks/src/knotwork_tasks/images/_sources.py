"""From the name of a dataset to its training and validation images."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from knotwork_tasks._datasets import SourceError, is_hub_name
from knotwork_tasks.images._digits import digit_images
from knotwork_tasks.images._folder import folder_images
from knotwork_tasks.images._hub import hub_images
from knotwork_tasks.images._splits import ACCEPTED, ImageSplits


def load_images(
    dataset: str = "digits", *, image_column: str | None = None, label_column: str | None = None, seed: int = 0
) -> ImageSplits:
    """The training and validation images of a dataset, with their class numbers.

    Images may have any sizes: the transforms bring them to one. They may have any modes: if one of them is in colour, all
    are read as RGB; 16-bit pixels become 8-bit ones and transparency is dropped. Every image is decoded once when the
    dataset is loaded, for only so is a broken one found: it is skipped and counted, and training never meets it. That
    takes some 6 seconds for 60,000 images of 28x28 pixels, about twice that when they are first read from the disk, and
    one to several milliseconds for each photograph. Nothing decoded is kept in memory.

    Args:
        dataset: one of

            - `digits`: scikit-learn's 8x8 images, a fixed stratified fifth of them for validation;
            - a folder with `train/CLASS/*.png` (or .jpg, .webp, ...) and `validation/`, `val/` or `test/` beside it, the
              first of these that exists; without one, each class holds out a tenth of its images, chosen by a hash of
              their names. Class numbers follow the sorted names of the class folders. Hidden files, files of other
              kinds and folders within class folders are passed over. A link out of the folder is refused;
            - a Hub name: its `validation` split, else `test`, unless that has no labels; else a tenth of each class.
        image_column: of a Hub dataset with several columns of images.
        label_column: of a Hub dataset with several columns of class numbers.
        seed: draws the order of the training images. It does not change which images are for validation.

    Raises:
        ValueError: the dataset is not found, cannot be read or holds no images, its columns are ambiguous, a class folder
            is empty, or a class has no training image.
    """
    try:
        splits = _load(dataset, image_column, label_column)
    except SourceError:
        raise
    except Exception as error:  # Pillow, pyarrow, datasets and the file system each have their own
        raise SourceError(f"{dataset!r} cannot be read: {error}") from error
    # RandomState's stream is frozen; that of numpy's newer generators may change with a version.
    order = np.random.RandomState(seed).permutation(len(splits.train))
    return replace(splits, train=splits.train.select(order))


def _load(dataset: str, image_column: str | None, label_column: str | None) -> ImageSplits:
    if dataset == "digits":
        return digit_images()
    path = os.path.expanduser(dataset)
    if os.path.isdir(path):
        return folder_images(Path(path))
    if os.path.exists(path):
        raise SourceError(f"{dataset!r} is a file; {ACCEPTED}")
    if is_hub_name(dataset):
        return hub_images(dataset, image_column, label_column)
    raise SourceError(f"{dataset!r} does not exist; {ACCEPTED}")
