"""The image classification task: ViT spaces on labelled images, which leave with their labels and preprocessing."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from knotwork_export import Preprocessing, Provenance, export_classifier
from knotwork_ops import Architecture
from knotwork_search import Batch, RunFolder, Supernet, fixed_batches, write_atomically
from knotwork_spaces import family, load_space
from torch import Tensor

from knotwork_tasks._saved import read_json
from knotwork_tasks.images._flags import ImageFlags
from knotwork_tasks.images._items import ImageItems, split_items
from knotwork_tasks.images._sources import load_images
from knotwork_tasks.images._splits import ImageSplits
from knotwork_tasks.images._transforms import evaluation_transform, preprocessing_for, training_transform

VALIDATION_BATCHES = 64
FAMILIES = ("vit",)
MOST_PATCHES = 64
"""Of an image, where neither the space nor the user chooses the patch."""


@dataclass
class ImagePackaging:
    """A classifier leaves with the names of its classes and how an image is prepared."""

    preprocessing: Preprocessing

    def save(self, run: RunFolder) -> None:
        """Keep both in the run's folder."""
        write_atomically(_file(run), json.dumps(asdict(self.preprocessing), indent=2) + "\n")

    def export(self, supernet: Any, architecture: Architecture, folder: Path, provenance: Provenance) -> Path:
        """Export a subnet, verified against the supernet's own logits."""
        images = torch.randn(2, *self.preprocessing.input_size, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            logits = supernet.logits(images, architecture)
        return export_classifier(
            supernet.extract(architecture),
            folder,
            timm_model=supernet.space.timm_model(architecture),
            preprocessing=self.preprocessing,
            provenance=provenance,
            reference_images=images,
            reference_logits=logits,
        )

    def loading(self, folder: Path, architecture: Architecture) -> str:
        """The lines of Python that load an exported folder."""
        lines = ["import timm", f'model = timm.create_model("local-dir:{folder}", pretrained=True)']
        if any(Path(folder).glob("*.py")):  # a model of its own, which timm has to be told of
            lines.insert(1, "import knotwork_export.timm_models")
        return "\n".join(lines)


def load_packaging(run: RunFolder) -> ImagePackaging:
    """The packaging that a run's folder holds. Raises ValueError when it is missing or damaged."""
    values = read_json(_file(run))
    try:
        lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        return ImagePackaging(Preprocessing(**{**values, **lists}))
    except TypeError as error:
        raise ValueError(f"{_file(run)} does not describe a preprocessing: {error}") from error


def _file(run: RunFolder) -> Path:
    return run.path / "preprocessing.json"


@dataclass
class ImageTask:
    """A ViT supernet with the two parts of its training images, and its validation images in batches."""

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

    def samples(self, model: Any, count: int = 3) -> list[str]:
        """What the model says of the first validation images."""
        names = self.packaging.preprocessing.labels
        batch = self.validation[0]
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
    if splits.skipped and accelerator.is_main_process:
        what = (
            "1 image could not be read and is" if splits.skipped == 1 else f"{splits.skipped} images could not be read and are"
        )
        print(f"{what} left out", file=sys.stderr)
    space, preprocessing = _space(flags, splits)
    prepare = evaluation_transform(preprocessing)
    augment = training_transform(preprocessing, flags.augment)
    classes = len(splits.labels)

    def training(images: Any) -> ImageItems:
        return ImageItems(images, augment, classes, mixup=flags.augment == "timm", label_smoothing=flags.label_smoothing)

    weight, architecture = split_items(splits.train, flags.train_portion)
    held_out = ImageItems(splits.validation, prepare, classes)
    return ImageTask(
        supernet=family(space.family).supernet(space),
        weight_data=training(weight),
        # As validation will see them, so that the architecture is chosen for what it is used for.
        architecture_data=ImageItems(architecture, prepare, classes),
        training_data=training(splits.train),
        validation=fixed_batches(held_out, flags.batch_size, VALIDATION_BATCHES, accelerator.device),
        packaging=ImagePackaging(preprocessing),
    )


def _space(flags: ImageFlags, splits: ImageSplits) -> tuple[Any, Preprocessing]:
    definition = load_space(flags.space)
    if definition.family not in FAMILIES:
        raise ValueError(f"--space {flags.space} is of the family {definition.family!r}: this task searches {list(FAMILIES)}")
    if flags.granularity is not None:
        definition = definition.with_granularity(flags.granularity)
    own = definition.settings
    preprocessing = preprocessing_for(splits, flags.image_size or own.get("image_size"))
    channels, size, _ = preprocessing.input_size
    settings: dict[str, Any] = {
        "image_size": size,
        "patch_size": flags.patch_size or own.get("patch_size") or default_patch(size),
        "channels": channels,
        "num_classes": len(splits.labels),
    }
    if flags.model is not None:
        settings["model"] = flags.model
    return definition.build(**settings), preprocessing


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
