"""Where a model comes from: what its card says beyond what the model itself shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Provenance:
    """How an architecture was found, and what it costs and reaches. All but the architecture may be left out.

    Attributes:
        architecture: the option of every choice; a list or tuple for a choice made per layer.
        cost: exact costs by name, such as ``params`` and ``flops``.
        strategy: the search strategy's name.
        dataset: what the model was trained on.
        metrics: what it reaches, such as ``loss`` and ``bits_per_byte``.
        settings: what is needed to repeat the search: steps, seed, budget and the like.
        versions: versions of the software by distribution; those installed when empty.
        training: how it was trained after the search: steps, teacher, data and the like.
        before: what it reached before that training, by the names of ``metrics``.
    """

    architecture: Mapping[str, Any]
    cost: Mapping[str, float] = field(default_factory=dict)
    strategy: str = ""
    dataset: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    before: Mapping[str, float] = field(default_factory=dict)
