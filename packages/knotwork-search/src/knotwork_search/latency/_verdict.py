"""What the found model takes in truth, beside what was predicted and what was allowed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from knotwork_ops import Architecture

from knotwork_search._protocols import TimedSupernet
from knotwork_search.latency._clock import Clock
from knotwork_search.latency._timing import time_architectures

ROUNDS = 80
"""Visits of the one model: together they last as long as a table's, so that both see the machine's fast moments."""


class BudgetError(Exception):
    """A finished model that misses its budget when it is measured."""


@dataclass(frozen=True)
class LatencyVerdict:
    """Milliseconds of the found model's pass over one item of full size.

    Attributes:
        predicted_ms: by the table that the search went by.
        measured_ms: of the extracted model.
        limit_ms: the budget.
        device: that it was measured on.
        median_error: relative, of the table's predictions; None if they were not checked.
    """

    predicted_ms: float
    measured_ms: float
    limit_ms: float
    device: str
    median_error: float | None

    def as_dict(self) -> dict[str, Any]:
        """The verdict as JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"latency: predicted {self.predicted_ms:.3g} ms, measured {self.measured_ms:.3g} ms, budget {self.limit_ms:.3g} ms "
            f"({self.device}, a batch of one at full size)"
        )

    @property
    def met(self) -> bool:
        """Whether the measured model is within the budget."""
        return self.measured_ms <= self.limit_ms

    def require_met(self) -> None:
        """Raise BudgetError, with the margin and a limit to try next, when the measured model is over the budget."""
        if self.met:
            return
        over = self.measured_ms / self.limit_ms - 1
        # The next search is to predict as much less as this one predicted too little.
        lower = self.limit_ms * min(1.0, self.predicted_ms / self.measured_ms)
        raise BudgetError(
            f"the found model takes {self.measured_ms:.4g} ms on {self.device}, {over:.1%} over the budget of "
            f"{self.limit_ms:.4g} ms (predicted: {self.predicted_ms:.4g} ms). All is written. Search again with a budget of "
            f"{lower:.3g} ms, or on a machine that runs nothing else"
        )


def measure_latency(
    supernet: TimedSupernet, architecture: Architecture, device: torch.device, *, clock: Clock | None = None
) -> float:
    """Milliseconds of an extracted model's pass, timed as a table's are."""
    (timing,) = time_architectures(supernet, [architecture], device, clock=clock, rounds=ROUNDS, most_seconds=20.0)
    return timing.total
