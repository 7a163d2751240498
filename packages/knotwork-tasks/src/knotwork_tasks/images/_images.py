"""Images with their class numbers, in one of two modes: grey or colour."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

GREY, COLOUR = "L", "RGB"

ReadImage = Callable[[int], Image.Image]
"""From an image's row in its source to the image."""


class LabelledImages(Dataset[tuple[Image.Image, int]]):
    """Images of one mode and any sizes, decoded when asked for; item `i` is `(image, class number)`.

    Attributes:
        read: the image of a row of the source.
        rows: int64 (images,), which rows these are, in order.
        targets: int64 (images,), their class numbers, known without decoding an image.
    """

    def __init__(self, read: ReadImage, rows: Sequence[int] | np.ndarray, targets: Sequence[int] | np.ndarray) -> None:
        self.read = read
        self.rows = np.asarray(rows, dtype=np.int64)
        self.targets = np.asarray(targets, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return self.read(int(self.rows[index])), int(self.targets[index])

    def select(self, indices: Sequence[int] | np.ndarray) -> LabelledImages:
        """The images at these indices, in this order."""
        chosen = np.asarray(indices, dtype=np.int64)
        return LabelledImages(self.read, self.rows[chosen], self.targets[chosen])


def is_grey(image: Image.Image) -> bool:
    """Whether nothing is lost when the image is read as grey, judged by its mode (or its palette).

    Raises:
        ValueError: its pixels are floating-point numbers.
    """
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers, which have no agreed range")
    if image.mode in ("P", "PA"):
        palette = np.asarray(image.getpalette("RGB")).reshape(-1, 3)
        return bool((palette == palette[:, :1]).all())
    return Image.getmodebase(image.mode) == "L"


def in_mode(image: Image.Image, mode: str) -> Image.Image:
    """The image in 8-bit mode `L` or `RGB`; transparency is dropped, as torchvision and timm do."""
    if image.mode == mode:
        return image
    if image.mode.startswith("I"):  # 16 bits a pixel, which Pillow's own conversion would clip rather than scale
        image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    if image.mode in ("P", "PA"):  # straight to RGB, Pillow warns about transparent palettes
        image = image.convert("RGBA")
    return image.convert(mode)
