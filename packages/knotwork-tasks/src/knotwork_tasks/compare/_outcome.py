"""What became of one search of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """One search, and what became of the architecture it found.

    Attributes:
        strategy: its name.
        seed: of the search.
        architecture: found.
        params: of the architecture.
        alone: loss on the validation data after training from scratch, nats; with a benchmark, the error in percent.
        regret: with a benchmark, how far the error is above that of the best architecture, in percentage points; else None.
        inherited: loss on the validation data with the supernet's weights; None of a random architecture, as all that follows.
        flops: that the search spent.
        seconds: that it took; None also of one that was killed between.
        memory: bytes at its peak.
        tau: Kendall's, between the random architectures' inherited and stand-alone losses.
        ranks: inherited losses of the random architectures.
        curve: pairs of FLOPs spent and the inherited loss, or with a benchmark the regret, of the best architecture then.
    """

    strategy: str
    seed: int
    architecture: dict[str, Any]
    params: float
    alone: float
    regret: float | None = None
    inherited: float | None = None
    flops: float | None = None
    seconds: float | None = None
    memory: int | None = None
    tau: float | None = None
    ranks: Sequence[float] = ()
    curve: Sequence[tuple[float, float]] = ()
