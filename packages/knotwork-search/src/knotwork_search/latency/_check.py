"""Checking a latency table on architectures that it was not built from."""

from __future__ import annotations

from statistics import median

import torch
from knotwork_ops import Architecture

from knotwork_search._protocols import TimedSupernet
from knotwork_search._sampling import draw_architecture, seeded, uniform_mixture
from knotwork_search.latency._build import covering_architectures
from knotwork_search.latency._clock import Clock
from knotwork_search.latency._table import LatencyTable
from knotwork_search.latency._timing import time_architectures

HELD_OUT = 20
"""Architectures that a table is checked on."""
TRIES = 1000
WORST_ERROR = 0.15
"""A median relative error above it is warned of."""


def check_table(
    table: LatencyTable, supernet: TimedSupernet, device: torch.device, *, clock: Clock | None = None
) -> float | None:
    """The median relative error of the table's predictions on held-out random architectures.

    Args:
        table: of the supernet's models on the device.
        supernet: whose models are timed.
        device: to time on.
        clock: that tells the device's time; its own when None.

    Returns:
        ``|predicted - measured| / measured``, the median; None where the space has no other architectures.
    """
    architectures = held_out_architectures(supernet)
    if not architectures:
        return None
    timings = time_architectures(supernet, architectures, device, clock=clock, most_seconds=40.0)
    measured = [timing.total for timing in timings]
    return median(abs(float(table(a)) - real) / real for a, real in zip(architectures, measured, strict=True))


def held_out_architectures(supernet: TimedSupernet, count: int = HELD_OUT) -> list[Architecture]:
    """Distinct random architectures that no table is built from; fewer where the space holds fewer."""
    used = set(covering_architectures(supernet))
    uniform = uniform_mixture(supernet.space)
    found: dict[Architecture, None] = {}
    with seeded("held-out latencies"):
        for _ in range(TRIES):
            architecture = draw_architecture(uniform)
            if architecture not in used:
                found[architecture] = None
            if len(found) == count:
                break
    return list(found)
