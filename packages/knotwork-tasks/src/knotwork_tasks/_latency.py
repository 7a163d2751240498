"""The latency budget of a search: predicted from a table of this device, measured once the model is found."""

from __future__ import annotations

from typing import Any

from accelerate import Accelerator
from knotwork_ops import Architecture
from knotwork_search import (
    LATENCY,
    LatencyTable,
    LatencyVerdict,
    Recorder,
    Supernet,
    TimedSupernet,
    cached_table,
    costs,
    device_name,
    measure_latency,
    shared,
    versions,
)

TIMED_PACKAGES = ("torch", "transformers", "timm")
"""Whose versions a pass may change its speed with."""


class LatencyBudget:
    """Attaches the device's latency table to a supernet, so that latency is one of its costs.

    Args:
        supernet: of the search.
        limit_ms: the budget.
        accelerator: whose device is timed, by its main process alone; all processes go by its table.
        recorder: shows what is done.

    Raises:
        ValueError: the supernet's models cannot be timed.
    """

    def __init__(self, supernet: Supernet, limit_ms: float, accelerator: Accelerator, recorder: Recorder) -> None:
        if not isinstance(supernet, TimedSupernet):
            raise ValueError(f"--max-latency-ms: a {type(supernet).__name__} does not say which blocks are to be timed")
        self.supernet, self.limit_ms, self.device = supernet, limit_ms, accelerator.device
        values: dict[str, Any] = {}
        if accelerator.is_main_process:
            values = cached_table(supernet, self.device, versions(TIMED_PACKAGES), recorder.message).as_dict()
        self.table = LatencyTable.from_dict(supernet.space, shared(values, accelerator))
        supernet.measured_costs[LATENCY] = self.table

    def verdict(self, found: Architecture) -> LatencyVerdict:
        """Measure the found model, to set beside its prediction."""
        return LatencyVerdict(
            predicted_ms=costs(self.supernet, found)[LATENCY],
            measured_ms=measure_latency(self.supernet, found, self.device),
            limit_ms=self.limit_ms,
            device=device_name(self.device),
            median_error=self.table.median_error,
        )
