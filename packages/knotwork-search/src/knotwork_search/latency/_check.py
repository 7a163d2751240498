"""Measuring a latency table, and checking it on architectures that it is not built from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import median

import torch
from knotwork_ops import Architecture

from knotwork_search._protocols import TimedSupernet
from knotwork_search._sampling import draw_architecture, seeded, uniform_mixture
from knotwork_search.latency._build import covering_architectures, table_of
from knotwork_search.latency._clock import Clock
from knotwork_search.latency._table import LatencyTable
from knotwork_search.latency._timing import Timing, time_architectures

HELD_OUT = 20
"""Architectures that a table is checked on."""
TRIES = 1000


def measured_table(supernet: TimedSupernet, device: torch.device, *, clock: Clock | None = None) -> LatencyTable:
    """The latency table of a supernet's extracted models on a device, with its median error on held-out architectures.

    Both kinds of architectures are timed in the same rounds, so that the error is the table's and not that of a machine which
    has become busier meanwhile.

    Args:
        supernet: its space has a depth.
        device: to time on.
        clock: that tells the device's time; its own when None.
    """
    covering, held_out = covering_architectures(supernet), held_out_architectures(supernet)
    timings = time_architectures(supernet, [*covering, *held_out], device, clock=clock)
    table = table_of(supernet, timings[: len(covering)])
    return replace(table, median_error=median_error(table, held_out, timings[len(covering) :]))


def median_error(table: LatencyTable, architectures: Sequence[Architecture], timings: Sequence[Timing]) -> float | None:
    """The median of ``|predicted - measured| / measured``; None without architectures."""
    pairs = zip(architectures, timings, strict=True)
    errors = [abs(float(table(architecture)) / timing.total - 1) for architecture, timing in pairs]
    return median(errors) if errors else None


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
