"""Training an image classifier: a folder of timm or a ViT of a search space, on labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from knotwork_export import Preprocessing, Provenance, export_classifier
from knotwork_search import Batch, RunFolder, fixed_batches, seeded
from knotwork_spaces.vit import plain_metrics
from torch import Tensor

from knotwork_tasks.images._items import ImageItems
from knotwork_tasks.images._network import ImageNetwork, load_classifier
from knotwork_tasks.images._packaging import load_packaging, loading_lines, preprocessing_file
from knotwork_tasks.images._sources import load_images
from knotwork_tasks.images._splits import ImageSplits
from knotwork_tasks.images._task import VALIDATION_BATCHES, ImageTask, report_skipped, verdicts
from knotwork_tasks.images._train_flags import ImageTrainFlags
from knotwork_tasks.images._transforms import evaluation_transform, preprocessing_for, training_transform
from knotwork_tasks.training import ArchitectureFile, Start, Teacher
from knotwork_tasks.training._flags import INHERIT
from knotwork_tasks.training._start import require_model_folder

FAMILY = "vit"


@dataclass
class ImageTraining:
    """An image classifier with its images and its teacher; see ``TrainingTask``."""

    network: ImageNetwork
    teacher: Teacher | None
    training_data: Any
    validation: Sequence[Batch]

    unit = "images"
    units_per_item = 1
    labels = ImageTask.labels

    @property
    def model(self) -> Any:
        """The classifier."""
        return self.network.model

    def predictions(self, model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits (batch, classes), and the labels."""
        return model(batch["image"]), batch["label"]

    def metrics(self, model: Any, batch: Batch) -> dict[str, Tensor]:
        """The mean cross-entropy in nats, and accuracies."""
        return plain_metrics(model, batch)

    def complete(self, metrics: dict[str, float]) -> dict[str, float]:
        """The metrics as they are."""
        return metrics

    def save(self, run: RunFolder) -> None:
        """Nothing: images and labels follow from the settings."""

    def export(
        self, folder: Path, provenance: Provenance | None = None, previous_card: str | None = None, *, verify: bool = True
    ) -> Path:
        """Write the model with its labels and how an image is prepared."""
        return export_classifier(
            self.model,
            folder,
            timm_model=self.network.timm_model,
            preprocessing=self.network.preprocessing,
            provenance=provenance,
            previous_card=previous_card,
            verify=verify,
        )

    def samples(self) -> list[str]:
        """What the model says of the first validation images."""
        return verdicts(self.model, self.validation[0], self.network.preprocessing.labels)

    def loading(self, folder: Path) -> str:
        """The lines of Python that load the folder."""
        return loading_lines(folder)


def image_training(flags: ImageTrainFlags, start: Start, run: RunFolder, accelerator: Accelerator) -> ImageTraining:
    """The training that the flags describe.

    Raises:
        ValueError: a model, dataset or teacher that cannot be read or does not fit the others.
    """
    splits = load_images(flags.dataset, image_column=flags.image_column, label_column=flags.label_column, seed=flags.seed)
    report_skipped(splits, accelerator)
    with seeded("initial weights", flags.seed):
        network = _network(flags, start, splits)
    preprocessing, classes = network.preprocessing, len(network.preprocessing.labels)
    teacher = None if flags.teacher is None else _teacher(Path(flags.teacher).expanduser(), preprocessing, accelerator)
    training = ImageItems(
        splits.train,
        training_transform(preprocessing, flags.augment),
        classes,
        mixup=flags.augment == "timm",
        label_smoothing=flags.label_smoothing,
    )
    held_out = ImageItems(splits.validation, evaluation_transform(preprocessing), classes)
    validation = fixed_batches(held_out, flags.batch_size, VALIDATION_BATCHES, accelerator.device)
    return ImageTraining(network, teacher, training, validation)


def _network(flags: ImageTrainFlags, start: Start, splits: ImageSplits) -> ImageNetwork:
    if isinstance(start, ArchitectureFile):
        network = _of_a_space(flags, start, splits)
    else:
        network = load_classifier(start.path, weights=flags.init == INHERIT)
    given = network.preprocessing
    if given.input_size[0] != splits.channels:
        raise ValueError(
            f"the images of {flags.dataset} have {splits.channels} channel(s), but the model takes {given.input_size[0]}"
        )
    if not given.labels and getattr(network.model, "num_classes", None) == len(splits.labels):
        return replace(network, preprocessing=replace(given, labels=splits.labels))
    if given.labels != splits.labels:
        raise ValueError(
            f"the classes of {flags.dataset} are {_few(splits.labels)}, but the model's {_few(given.labels)}: "
            "their names and order must be the same"
        )
    return network


def _of_a_space(flags: ImageTrainFlags, start: ArchitectureFile, splits: ImageSplits) -> ImageNetwork:
    """The network of a search space, its images prepared as its run prepared them where the file lies in one."""
    if start.space.family != FAMILY:
        raise ValueError(
            f"{start.path} is of the family {start.space.family!r}: only those of the family {FAMILY!r} are trained"
        )
    model = start.model(flags.init)
    known = preprocessing_file(start.run).exists()
    preprocessing = load_packaging(start.run).preprocessing if known else preprocessing_for(splits, start.space.image_size)
    return ImageNetwork(model, start.space.timm_model(start.architecture), preprocessing)


def _teacher(folder: Path, wanted: Preprocessing, accelerator: Accelerator) -> Teacher:
    """A classifier of the same images and classes, in eval mode. It sees them normalised in its own way.

    Raises:
        ValueError: it cannot be loaded, or takes other images or has other classes.
    """
    network = load_classifier(require_model_folder(folder, "--teacher"))
    model: Any = network.model
    own = network.preprocessing
    if model.num_classes != len(wanted.labels) or own.labels not in ((), wanted.labels):
        raise ValueError(
            f"the teacher {folder} has {model.num_classes} classes, {_few(own.labels)}, the model {len(wanted.labels)}, "
            f"{_few(wanted.labels)}: both must have the same in the same order"
        )
    if own.input_size != wanted.input_size:
        raise ValueError(
            f"the teacher {folder} takes images of {own.input_size}, the model of {wanted.input_size} (channels, height, width)"
        )
    model.to(accelerator.device, torch.float32).eval().requires_grad_(False)
    factor, shift = (value.to(accelerator.device) for value in _renormalisation(wanted, own))
    return lambda batch: model(batch["image"] * factor + shift)


def _renormalisation(given: Preprocessing, wanted: Preprocessing) -> tuple[Tensor, Tensor]:
    """Factor and shift, (channels, 1, 1) each, from images normalised in one way to the other; exactly 1 and 0 for the same."""
    std, mean = (torch.tensor(values, dtype=torch.float64)[:, None, None] for values in (given.std, given.mean))
    other_std, other_mean = (torch.tensor(values, dtype=torch.float64)[:, None, None] for values in (wanted.std, wanted.mean))
    return (std / other_std).float(), ((mean - other_mean) / other_std).float()


def _few(labels: Sequence[str]) -> str:
    return f"{list(labels[:5])}{' and so on' if len(labels) > 5 else ''}" if labels else "without names"
