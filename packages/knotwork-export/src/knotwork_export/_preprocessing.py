"""What an image goes through before a classifier sees it, and what the classes are called."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "box", "hamming", "lanczos")
LARGEST_IMAGE = 2**14
"""Pixels a side, and channels: 3 GB in colour and float32."""
CROP_MODES = ("center", "squash", "border")


@dataclass(frozen=True)
class Preprocessing:
    """How images are prepared and what the classes are called, in timm's terms: it becomes the folder's ``pretrained_cfg``.

    Attributes:
        labels: the name of each class, in the classifier's order.
        input_size: channels, height and width of what the model sees.
        mean: of each channel, subtracted from values between 0 and 1.
        std: of each channel, divided by afterwards.
        interpolation: how images are resized: nearest, bilinear, bicubic, box, hamming or lanczos.
        crop_pct: what is kept of each edge: images are resized to ``input_size / crop_pct`` and the middle is cut out.
        crop_mode: ``center`` keeps the proportions and loses the longer edge's ends, ``squash`` loses the proportions,
            ``border`` pads the shorter edge.

    Raises:
        ValueError: a setting that is not of this form; the message names it.
    """

    labels: tuple[str, ...]
    input_size: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bicubic"
    crop_pct: float = 1.0
    crop_mode: str = "center"

    def __post_init__(self) -> None:
        if isinstance(self.labels, str) or not all(isinstance(label, str) and label for label in self.labels):
            raise ValueError(f"labels are {self.labels!r}: expected a tuple of names, none of them empty")
        if len(self.input_size) != 3 or not all(_whole(size) for size in self.input_size):
            raise ValueError(
                f"input_size is {self.input_size}: expected (channels, height, width), whole numbers from 1 to {LARGEST_IMAGE}"
            )
        for name in ("mean", "std"):
            values = getattr(self, name)
            if len(values) != self.input_size[0] or not all(math.isfinite(value) for value in values):
                raise ValueError(
                    f"{name} is {values}: expected {self.input_size[0]} numbers, one a channel of {self.input_size}"
                )
        if min(self.std) <= 0:
            raise ValueError(f"std is {self.std}: every channel is divided by its own, so all must be positive")
        if not 0 < self.crop_pct <= 1:
            raise ValueError(f"crop_pct is {self.crop_pct}: expected the share that is kept, above 0 and at most 1")
        for name, known in (("interpolation", INTERPOLATIONS), ("crop_mode", CROP_MODES)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)!r}: timm knows {', '.join(known)}")

    def data_config(self) -> dict[str, Any]:
        """The part that timm calls the data configuration, as JSON has it."""
        return {
            "input_size": list(self.input_size),
            "interpolation": self.interpolation,
            "mean": list(self.mean),
            "std": list(self.std),
            "crop_pct": self.crop_pct,
            "crop_mode": self.crop_mode,
        }


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= LARGEST_IMAGE
