"""The image classification task: ViT and cell spaces on labelled images, which leave with their labels and preprocessing."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from knotwork_export import Preprocessing
from knotwork_ops import read_mapping
from knotwork_search import Batch, RunFolder, Supernet, fixed_batches
from knotwork_spaces import SpaceDefinition, load_pretrained, load_space, space_from_dict
from knotwork_spaces.ordering import ordered
from torch import Tensor

from knotwork_tasks._supernet import built
from knotwork_tasks.images._flags import FAMILIES, ImageFlags
from knotwork_tasks.images._images import LabelledImages
from knotwork_tasks.images._items import ImageItems, split_items
from knotwork_tasks.images._packaging import CellPackaging, ImagePackaging, load_packaging
from knotwork_tasks.images._sources import load_images
from knotwork_tasks.images._splits import ImageSplits
from knotwork_tasks.images._transforms import evaluation_transform, preprocessing_for, training_transform

VALIDATION_BATCHES = 64
CALIBRATION_IMAGES = 512
CALIBRATION_BATCH = 32
MOST_PATCHES = 64
"""Of an image, where neither the space nor the user chooses the patch."""


@dataclass
class ImageTask:
    """A supernet with the two parts of its training images, and its validation images in batches."""

    supernet: Supernet
    weight_data: Any
    architecture_data: Any
    training_data: Any
    validation: Sequence[Batch]
    packaging: ImagePackaging

    unit = "images"
    units_per_item = 1
    labels = {  # noqa: RUF012
        "params": "parameters",
        "macs": "MACs/image",
        "latency_ms": "ms, predicted",
        "loss": "loss",
        "top1": "top-1",
        "top5": "top-5",
    }

    def complete(self, metrics: dict[str, float]) -> dict[str, float]:
        """The metrics as they are."""
        return metrics

    def samples(self, model: Any) -> list[str]:
        """What the model says of the first validation images."""
        names = self.packaging.preprocessing.labels
        return verdicts(self.packaging.ready(model.cpu().eval()), self.validation[0], names)


def report_skipped(splits: ImageSplits, accelerator: Accelerator) -> None:
    """Say on the error stream how many images could not be read."""
    if splits.skipped and accelerator.is_main_process:
        what = (
            "1 image could not be read and is" if splits.skipped == 1 else f"{splits.skipped} images could not be read and are"
        )
        print(f"{what} left out", file=sys.stderr)


def verdicts(model: Any, batch: Batch, names: Sequence[str], count: int = 3) -> list[str]:
    """What a classifier says of the first images of a batch; it goes to the CPU, and into eval mode."""
    probabilities: Tensor = model.cpu().eval()(batch["image"][:count].cpu()).softmax(-1)
    return [
        f"{names[int(label)]}: taken for {names[int(row.argmax())]} with probability {row.max():.2f}"
        for row, label in zip(probabilities, batch["label"], strict=False)
    ]


def image_task(flags: ImageFlags, run: RunFolder, accelerator: Accelerator) -> ImageTask:
    """The task that the flags describe.

    Raises:
        ValueError: a dataset or space that is unknown, empty, or does not fit the other.
    """
    splits = load_images(flags.dataset, image_column=flags.image_column, label_column=flags.label_column, seed=flags.seed)
    report_skipped(splits, accelerator)
    space, preprocessing, checkpoint = _space(flags, splits, run)
    prepare = evaluation_transform(preprocessing)
    augment = training_transform(preprocessing, flags.augment)
    classes = len(splits.labels)

    def training(images: Any) -> ImageItems:
        return ImageItems(images, augment, classes, mixup=flags.augment == "timm", label_smoothing=flags.label_smoothing)

    weight, architecture = split_items(splits.train, flags.train_portion)
    held_out = ImageItems(splits.validation, prepare, classes)
    packaging = ImagePackaging(preprocessing)
    if space.family == "toy-cell":
        packaging = CellPackaging(preprocessing, _calibration(ImageItems(_some(weight), prepare, classes)))
    if checkpoint is not None and flags.order != "none":
        seen = fixed_batches(
            ImageItems(_some(weight), prepare, classes), CALIBRATION_BATCH, CALIBRATION_IMAGES, torch.device("cpu")
        )
        space = ordered(space, checkpoint, flags.order, seen)
    return ImageTask(
        supernet=built(space, checkpoint, flags.lora_rank),
        weight_data=training(weight),
        # As validation will see them, so that the architecture is chosen for what it is used for.
        architecture_data=ImageItems(architecture, prepare, classes),
        training_data=training(splits.train),
        validation=fixed_batches(held_out, flags.batch_size, VALIDATION_BATCHES, accelerator.device),
        packaging=packaging,
    )


def _some(images: LabelledImages) -> LabelledImages:
    """Images spread evenly over a dataset, whatever its order."""
    wanted = min(len(images), CALIBRATION_IMAGES)
    return images.select(np.arange(wanted) * len(images) // wanted)


def _calibration(items: ImageItems) -> Tensor:
    return torch.stack([items[at]["image"] for at in range(len(items))])


def _space(flags: ImageFlags, splits: ImageSplits, run: RunFolder) -> tuple[Any, Preprocessing, Any]:
    """The search space, how images are prepared, and the checkpoint that the space is around, if there is one."""
    if flags.resume:
        space: Any = space_from_dict(read_mapping(run.space))
        return space, load_packaging(run).preprocessing, None
    definition = load_space(flags.space)
    if definition.family not in FAMILIES:
        raise ValueError(f"--space {flags.space} is of the family {definition.family!r}: this task searches {list(FAMILIES)}")
    if flags.granularity is not None:
        definition = definition.with_granularity(flags.granularity)
    if flags.init_from is not None:
        return _around_checkpoint(definition, flags, splits)
    own = definition.settings
    preprocessing = preprocessing_for(splits, flags.image_size or own.get("image_size"))
    channels, size, _ = preprocessing.input_size
    settings: dict[str, Any] = {"image_size": size, "channels": channels, "num_classes": len(splits.labels)}
    patch = flags.patch_size or own.get("patch_size")
    if definition.family == "vit":
        patch = patch or default_patch(size)
    settings |= {name: value for name, value in (("patch_size", patch), ("model", flags.model)) if value is not None}
    return definition.build(**settings), preprocessing, None


def _around_checkpoint(definition: SpaceDefinition, flags: ImageFlags, splits: ImageSplits) -> tuple[Any, Preprocessing, Any]:
    """The same around a checkpoint, whose images were prepared in its own way."""
    for name, value in (("patch-size", flags.patch_size), ("model", flags.model)):
        if value is not None:
            raise ValueError(f"--{name} cannot be chosen beside --init-from: it is the checkpoint's")
    settings = {"channels": splits.channels, "num_classes": len(splits.labels), "image_size": flags.image_size}
    definition, checkpoint = load_pretrained(definition, flags.init_from or "", **settings)
    preprocessing = preprocessing_for(splits, definition.settings["image_size"])
    own = dict(checkpoint.preparation)
    if len(own.get("mean", ())) != splits.channels:
        # Of colours, for grey images: what was measured on these stays.
        own = {name: value for name, value in own.items() if name not in ("mean", "std")}
    own |= {name: tuple(own[name]) for name in ("mean", "std") if name in own}
    return definition.build(), replace(preprocessing, **own), checkpoint.model


def default_patch(image_size: int) -> int:
    """The smallest patch from 2 pixels on that divides an image into at most 64: 16 to 64 patches for 8 to 32 pixels.

    Raises:
        ValueError: none does.
    """
    for patch in range(2, image_size // 2 + 1):
        if image_size % patch == 0 and (image_size // patch) ** 2 <= MOST_PATCHES:
            return patch
    raise ValueError(
        f"no patch divides {image_size} pixels into 4 to {MOST_PATCHES} patches: give --image-size or --patch-size"
    )
