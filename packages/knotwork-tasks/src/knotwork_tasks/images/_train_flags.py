"""The flags of training an image classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from knotwork_tasks.images._flags import DATASETS, check_augmentation
from knotwork_tasks.training import TrainFlags, parse_train_flags, train_parser

_DEFAULTS = {
    "dataset": "digits", "steps": 3000, "batch_size": 64, "learning_rate": 1e-3, "augment": "basic", "label_smoothing": 0.1,
}  # fmt: skip
_OF_THE_RUN = ("image_column", "label_column", "augment", "label_smoothing")


@dataclass(frozen=True, kw_only=True)
class ImageTrainFlags(TrainFlags):
    """Every setting of training an image classifier."""

    image_column: str | None
    label_column: str | None
    augment: str
    label_smoothing: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_augmentation(self.augment, self.label_smoothing)


def parse_image_train_flags(program: str, description: str, arguments: Sequence[str] | None) -> ImageTrainFlags:
    """The flags of a command line. Raises ValueError as ``parse_train_flags`` does."""
    parser = train_parser(program, description, DATASETS)
    add = parser.add_argument
    add("--image-column", type=str | None, help="the Hub dataset's column of images, where there are several")
    add("--label-column", type=str | None, help="its column of class labels, where there are several")
    add("--augment", type=str | None, help="none, basic (shifts) or timm (RandAugment, random erasing, mixup)")
    add("--label-smoothing", type=float | None, help="share of each label that is spread over all classes")
    return parse_train_flags(parser, arguments, ImageTrainFlags, _DEFAULTS, _OF_THE_RUN)
