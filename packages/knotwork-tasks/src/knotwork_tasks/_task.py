"""What a search needs to know of its task, be it text, images or a third kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from knotwork_export import Provenance
from knotwork_ops import Architecture
from knotwork_search import Batch, RunFolder, Supernet

_FAMILIES = {
    "gpt2": "knotwork_tasks.text",
    "llama": "knotwork_tasks.text",
    "vit": "knotwork_tasks.images",
    "toy-cell": "knotwork_tasks.images",
}


class Packaging(Protocol):
    """What leaves with a model beside its weights: a tokenizer, or labels and how an image is prepared."""

    def save(self, run: RunFolder) -> None:
        """Keep it in a run's folder, for resuming and for exporting later."""
        ...

    def export(self, supernet: Any, architecture: Architecture, folder: Path, provenance: Provenance) -> Path:
        """Export a subnet, verified against the supernet's own logits."""
        ...

    def loading(self, folder: Path, architecture: Architecture) -> str:
        """The lines of Python that load an exported folder."""
        ...


class Task(Protocol):
    """A supernet with the data it learns from, and how to speak of both.

    Attributes:
        supernet: untrained; its space describes itself with ``as_dict``.
        weight_data: the part of the training data for the weights.
        architecture_data: the disjoint part for the architecture parameters.
        training_data: both parts in one, for training a network alone.
        validation: batches that are never trained on.
        unit: what throughput counts, such as ``tokens``.
        units_per_item: how many of them one item of the data holds.
        labels: column headings of costs and metrics by name, in order, for the table at the end.
        packaging: what leaves with the model.
    """

    @property
    def supernet(self) -> Supernet: ...

    @property
    def weight_data(self) -> Any: ...

    @property
    def architecture_data(self) -> Any: ...

    @property
    def training_data(self) -> Any: ...

    @property
    def validation(self) -> Sequence[Batch]: ...

    @property
    def unit(self) -> str: ...

    @property
    def units_per_item(self) -> int: ...

    @property
    def labels(self) -> Mapping[str, str]: ...

    @property
    def packaging(self) -> Packaging: ...

    def complete(self, metrics: dict[str, float]) -> dict[str, float]:
        """Metrics with what follows from them, such as bits per byte."""
        ...

    def samples(self, model: Any) -> list[str]:
        """A few lines that show what the exported model does; may be none."""
        ...


class TaskKind(NamedTuple):
    """What a task's folder offers, as ``TASK`` in its ``__init__``.

    Attributes:
        flags: its subclass of ``SearchFlags``.
        prepare: ``(flags, run, accelerator) -> Task``.
        load_packaging: ``(run) -> Packaging``, what ``Packaging.save`` kept.
        parse: ``(program, description, arguments) -> flags``.
    """

    flags: Any
    prepare: Any
    load_packaging: Any
    parse: Any


def task_kind(family: str) -> TaskKind:
    """The kind of task that searches a family of networks.

    Raises:
        ValueError: a family that no task searches.
        ImportError: the task's libraries are not installed.
    """
    if family not in _FAMILIES:
        raise ValueError(f"no task searches the family {family!r}: known are {sorted(_FAMILIES)}")
    return import_module(_FAMILIES[family]).TASK
