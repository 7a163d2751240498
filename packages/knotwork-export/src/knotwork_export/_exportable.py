"""The seam between exporting and the kinds of model: a kind is one file that implements it, and its loaders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from huggingface_hub import ModelCard
from torch import Tensor

from knotwork_export._provenance import Provenance
from knotwork_export._reference import Reference


class Exportable(Protocol):
    """A model on its way out: a copy on the CPU in eval mode, so that the given one stays as it is."""

    @property
    def reference(self) -> Reference:
        """What the model is compared on."""
        ...

    def write(self, folder: Path) -> None:
        """Write all but the card into an empty folder. Raises ExportError for code that may not travel."""
        ...

    def card(self, folder: Path, provenance: Provenance | None, *, verified: bool) -> ModelCard:
        """The card of the folder that was written."""
        ...

    def logits(self) -> Tensor:
        """What the copy computes on the reference's inputs."""
        ...

    def request(self, folder: Path) -> dict[str, Any]:
        """What the fresh process is told: the names of its ``loaders``, and what they need to know."""
        ...

    def check(self, results: Mapping[str, Tensor]) -> None:
        """Compare what the loaders gave besides logits. Raises ExportError for a difference."""
        ...
