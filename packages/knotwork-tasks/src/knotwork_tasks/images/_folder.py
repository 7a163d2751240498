"""Images from a local folder, one subfolder a class: train/CLASS/*.png, and maybe validation/ or test/ beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from knotwork_tasks._datasets import SourceError
from knotwork_tasks.images._splits import ImageSplits, ListedSplit, assemble

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".webp")
_TRAIN = "train"
_VALIDATION = ("validation", "val", "test")

_ClassFiles = dict[str, list[str]]
"""From each class to the paths of its image files, relative to the split's folder."""


class _Files:
    """Reads the file of a row, turned upright as its camera noted."""

    def __init__(self, folder: Path, paths: list[str]) -> None:
        self.folder, self.paths = folder, paths

    def __call__(self, row: int) -> Image.Image:
        with Image.open(self.folder / self.paths[row]) as image:
            return ImageOps.exif_transpose(image)


def folder_images(root: Path) -> ImageSplits:
    """The splits of an existing folder; a validation split that it lacks is held out of every class.

    Raises:
        SourceError: there is no train folder, or a class folder is empty, unknown to training, or leaves the dataset.
    """
    folder = root / _TRAIN
    if not folder.is_dir():
        raise SourceError(f"the folder {str(root)!r} lacks {_TRAIN}/: it must hold {_TRAIN}/CLASS/*.png, one subfolder a class")
    train = _class_files(root, _TRAIN)
    labels = sorted(train)
    name = next((name for name in _VALIDATION if (root / name).is_dir()), None)
    if name is None:
        return assemble(str(root), labels, _listed(root, _TRAIN, train, labels), None)
    validation = _class_files(root, name)
    unknown = sorted(set(validation) - set(train))
    if unknown:
        raise SourceError(f"{str(root)!r}: {name}/ holds the classes {unknown}, which {_TRAIN}/ has not; its own are {labels}")
    return assemble(str(root), labels, _listed(root, _TRAIN, train, labels), _listed(root, name, validation, labels))


def _listed(root: Path, split: str, files: _ClassFiles, labels: list[str]) -> ListedSplit:
    # In the order of the classes, then of the names, so that nothing depends on the file system.
    paths = [path for label in labels for path in sorted(files.get(label, []))]
    targets = [target for target, label in enumerate(labels) for _ in files.get(label, [])]
    return ListedSplit(split, _Files(root / split, paths), paths, np.asarray(targets, dtype=np.int64))


def _class_files(root: Path, split: str) -> _ClassFiles:
    real_root = os.path.realpath(root)
    _require_inside(root / split, real_root)
    found: _ClassFiles = {}
    for entry in _visible(root / split, real_root):
        if not entry.is_dir():
            continue
        files = _visible(Path(entry.path), real_root)
        # Not a pipe, which would be waited for.
        names = [file.name for file in files if file.name.lower().endswith(SUFFIXES) and not Path(file.path).is_fifo()]
        if not names:
            raise SourceError(
                f"the class folder {entry.path!r} is empty: it holds no file that ends in {', '.join(SUFFIXES)}; "
                "add images, or remove the folder"
            )
        found[entry.name] = [f"{entry.name}/{name}" for name in names]
    if not found:
        raise SourceError(f"{str(root / split)!r} is empty: it must hold one subfolder of images a class")
    return found


def _visible(folder: Path, real_root: str) -> Iterator[os.DirEntry[str]]:
    """The entries that are not hidden: '.' begins the names of what editors and file managers leave behind."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith("."):
                if entry.is_symlink():
                    _require_inside(Path(entry.path), real_root)
                yield entry


def _require_inside(path: Path, real_root: str) -> None:
    real = os.path.realpath(path)
    if not Path(real).is_relative_to(real_root):
        raise SourceError(
            f"{str(path)!r} is a link to {real!r}, which lies outside the dataset's folder: copy what it points to into the "
            "folder, or remove the link"
        )
