"""Fashion-MNIST as a folder of images, from Debian's package instead of a download.

    apt-get install dataset-fashion-mnist
    uv run python tools/fashion_mnist.py --output-dir data/fashion

writes 60,000 train/CLASS/*.png and 10,000 test/CLASS/*.png, which knotwork_tasks.images reads. The folder appears under its
name when it is complete; a killed run leaves at most a hidden one beside it.
"""

from __future__ import annotations

import argparse
import gzip
import math
import os
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

SOURCE = Path("/usr/share/datasets/fashion-mnist")
FILES = {"train": "train", "test": "t10k"}
# By their numbers in the label files; "T-shirt/top" cannot name a folder.
CLASSES = ("t-shirt-top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot")
_UNSIGNED_BYTE = 8


def main() -> None:
    """Convert, then say how much."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--output-dir", type=Path, required=True, help="must not exist")
    parser.add_argument("--source", type=Path, default=SOURCE, help="folder of the four .gz files (default: %(default)s)")
    parser.add_argument("--limit", type=int, help="images a class and split; all by default")
    flags = parser.parse_args()
    try:
        counts = convert(flags.source, flags.output_dir, flags.limit)
    except ValueError as error:
        parser.error(str(error))
    print(f"{flags.output_dir}: " + ", ".join(f"{count:,} images in {split}/" for split, count in counts.items()))


def convert(source: Path, output: Path, limit: int | None = None) -> dict[str, int]:
    """Write the image folder `output` and count its images by split.

    Args:
        source: the folder of the four idx files.
        output: appears when it is complete.
        limit: the first so many images of each class and split; None for all.

    Raises:
        ValueError: `output` exists, `limit` is below 1, or a file is missing or not what its name says.
    """
    if os.path.lexists(output):
        raise ValueError(f"{output} exists already: remove it, or choose another --output-dir")
    if limit is not None and limit < 1:
        raise ValueError(f"--limit must be at least 1, got {limit}")
    splits = {split: _read_split(source, prefix) for split, prefix in FILES.items()}
    output.parent.mkdir(parents=True, exist_ok=True)
    unfinished = output.with_name(f".{output.name}.unfinished-{os.getpid()}")
    try:
        counts = {split: _write_split(unfinished / split, *arrays, limit) for split, arrays in splits.items()}
        unfinished.rename(output)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return counts


def read_idx(path: Path) -> np.ndarray:
    """The array of a gzipped idx file of unsigned bytes, of whatever shape its header says.

    Raises:
        ValueError: it is missing or no such file.
    """
    try:
        with gzip.open(path) as file:
            content = file.read()
    except FileNotFoundError as error:
        raise ValueError(f"{path} is missing: apt-get install dataset-fashion-mnist, or give its folder as --source") from error
    except (OSError, EOFError) as error:
        raise ValueError(f"{path} is not a whole gzip file: {error}") from error
    if len(content) < 4 or content[:3] != bytes([0, 0, _UNSIGNED_BYTE]):
        raise ValueError(f"{path} is not an idx file of unsigned bytes: it begins with {content[:4].hex(' ')}")
    dimensions = content[3]
    header = 4 + 4 * dimensions
    shape = [int.from_bytes(content[i : i + 4], "big") for i in range(4, header, 4)]
    if len(content) != header + math.prod(shape):
        raise ValueError(f"{path} holds {len(content) - header} bytes, but its header says {shape}")
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)


def _read_split(source: Path, prefix: str) -> tuple[np.ndarray, np.ndarray]:
    images = read_idx(source / f"{prefix}-images-idx3-ubyte.gz")
    labels = read_idx(source / f"{prefix}-labels-idx1-ubyte.gz")
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        raise ValueError(
            f"the {prefix} files of {source} do not match: images {images.shape}, labels {labels.shape}; expected "
            "(images, height, width) and (images,)"
        )
    if labels.size and labels.max() >= len(CLASSES):
        raise ValueError(f"the {prefix} files of {source} hold the label {labels.max()}: labels are below {len(CLASSES)}")
    return images, labels


def _write_split(folder: Path, images: np.ndarray, labels: np.ndarray, limit: int | None) -> int:
    count = 0
    for number, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for index in np.flatnonzero(labels == number)[:limit]:
            Image.fromarray(images[index]).save(folder / name / f"{index:05d}.png")
            count += 1
    return count


if __name__ == "__main__":
    main()
