"""What a training needs to know of its task, be it text, images or a third kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from knotwork_export import Provenance
from knotwork_search import Batch, RunFolder
from torch import Tensor, nn

Teacher = Callable[[Batch], Tensor]
"""From a batch to a teacher's logits, in the layout of ``TrainingTask.predictions``, without gradients."""


class TrainingTask(Protocol):
    """A plain network with the data it learns from, and how to speak of both.

    Attributes:
        model: the plain upstream model, with its first weights.
        teacher: whose predictions it learns as well, or None.
        training_data: all of the training data.
        validation: batches that are never trained on, the same for every model of one dataset, batch and block size.
        unit: what throughput counts, such as ``tokens``.
        units_per_item: how many of them one item of the data holds.
        labels: headings of metrics by name, in order, for the table at the end.
    """

    @property
    def model(self) -> nn.Module: ...

    @property
    def teacher(self) -> Teacher | None: ...

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

    def predictions(self, model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits (rows, classes), and what they should be: (rows,) class numbers or (rows, classes) probabilities."""
        ...

    def metrics(self, model: Any, batch: Batch) -> dict[str, Tensor]:
        """What evaluation reports of a batch, 0-dim; ``loss`` among them."""
        ...

    def complete(self, metrics: dict[str, float]) -> dict[str, float]:
        """Metrics with what follows from them, such as bits per byte."""
        ...

    def save(self, run: RunFolder) -> None:
        """Keep in the training's folder what resuming needs besides the settings."""
        ...

    def export(
        self, folder: Path, provenance: Provenance | None = None, previous_card: str | None = None, *, verify: bool = True
    ) -> Path:
        """Write the model as a folder in the format that it came in."""
        ...

    def samples(self) -> list[str]:
        """A few lines that show what the model does."""
        ...

    def loading(self, folder: Path) -> str:
        """The lines of Python that load the folder."""
        ...
