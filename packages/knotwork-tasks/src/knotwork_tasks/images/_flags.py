"""The flags of a search on images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from knotwork_tasks._flags import SearchFlags, parse_search_flags, search_parser
from knotwork_tasks.images._transforms import AUGMENTATIONS

FAMILIES = ("vit", "toy-cell")
_DEFAULT_SPACE = "vit-nano"
DATASETS = "Hub name, folder with train/CLASS/*.png and perhaps validation/ or test/, or digits (the default)"


@dataclass(frozen=True, kw_only=True)
class ImageFlags(SearchFlags):
    """Every setting of a search on images."""

    image_column: str | None
    label_column: str | None
    model: str | None
    image_size: int | None
    patch_size: int | None
    augment: str
    label_smoothing: float

    def __post_init__(self) -> None:
        check_augmentation(self.augment, self.label_smoothing)


def check_augmentation(augment: str, label_smoothing: float) -> None:
    """Raise ValueError for an unknown augmentation or a smoothing outside [0, 1)."""
    if augment not in AUGMENTATIONS:
        raise ValueError(f"unknown augment {augment!r}: known are {list(AUGMENTATIONS)}")
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing is {label_smoothing}: it must be at least 0 and below 1")


def parse_image_flags(program: str, description: str, arguments: Sequence[str] | None) -> ImageFlags:
    """The flags of a command line. Raises ValueError as ``parse_search_flags`` does."""
    parser = search_parser(program, description, FAMILIES, _DEFAULT_SPACE, DATASETS)
    add = parser.add_argument
    add("--image-column", type=str | None, help="the Hub dataset's column of images, where there are several")
    add("--label-column", type=str | None, help="its column of class labels, where there are several")
    add("--model", type=str | None, help="timm ViT whose other settings the nets have, such as vit_small_patch16_224")
    add("--image-size", type=int | None, help="pixels; the space's own, else the data's by default")
    add("--patch-size", type=int | None, help="pixels; the space's own by default, else one that gives up to 64 patches")
    add("--augment", type=str | None, help="none, basic (shifts) or timm (RandAugment, random erasing, mixup)")
    add("--label-smoothing", type=float | None, help="share of each label that is spread over all classes")
    defaults = {"space": _DEFAULT_SPACE, "dataset": "digits", "augment": "basic", "label_smoothing": 0.1}
    return parse_search_flags(parser, arguments, ImageFlags, defaults, lambda _: {"space": "vit-pretrained"})
