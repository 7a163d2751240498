"""Timing extracted models block by block, so that cores shared with others spoil little of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from knotwork_ops import Architecture

from knotwork_search._protocols import TimedSupernet
from knotwork_search.latency._clock import Clock, clock_of

ROUNDS = 8
"""How often each architecture is visited: a slow spell of the machine spoils a visit of each rather than all of one."""
WARM_UP = 2
"""Passes that a visit begins with, uncounted: memory is laid out, caches are filled. One more says how many to count."""
VISIT_MS = 40.0
LEAST_PASSES, MOST_PASSES = 2, 20
"""A visit counts as many passes as fit into ``VISIT_MS``, within these bounds."""
FASTEST_SHARE = 0.25
"""Of the passes are kept. What else runs on the machine only slows passes down, so the fast ones say what the model takes."""


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one pass: in each block, and outside all blocks."""

    outside: float
    blocks: tuple[float, ...]

    @property
    def total(self) -> float:
        """Milliseconds of the whole pass."""
        return self.outside + sum(self.blocks)


def time_architectures(
    supernet: TimedSupernet,
    architectures: Sequence[Architecture],
    device: torch.device,
    *,
    clock: Clock | None = None,
    rounds: int = ROUNDS,
    most_seconds: float = 75.0,
) -> list[Timing]:
    """Time the plain models of architectures: eager, in the weights' own precision, one item of full size, no gradients.

    Architectures are visited in turn, several times over. A model lives for one visit, so that memory holds one at a time.

    Args:
        supernet: whose ``extract`` gives the models.
        architectures: to be timed.
        device: to time on.
        clock: that tells the device's time; its own when None.
        rounds: visits of each architecture.
        most_seconds: no further round starts after this long. The first is always finished.
    """
    clock = clock or clock_of(device)
    passes: list[list[list[float]]] = [[] for _ in architectures]
    started = time.monotonic()
    for number in range(rounds):
        if number and time.monotonic() - started > most_seconds:
            break
        for architecture, seen in zip(architectures, passes, strict=True):
            seen += _visit(supernet, architecture, device, clock)
    return [_fastest(seen) for seen in passes]


def _visit(supernet: TimedSupernet, architecture: Architecture, device: torch.device, clock: Clock) -> list[list[float]]:
    """The gaps of some passes: before the first block, in each block, after the last."""
    model = supernet.extract(architecture).eval().to(device)
    inputs = {name: value.to(device) for name, value in supernet.timed_input().items()}
    marks: list[Any] = []

    def mark(*_: object) -> None:
        marks.append(clock.mark())

    blocks = list(supernet.timed_blocks(model))
    # A block lasts until the next begins: what runs between two of them grows with depth as they do.
    for block in blocks:
        block.register_forward_pre_hook(mark)
    blocks[-1].register_forward_hook(mark)

    def one_pass() -> list[float]:
        marks.clear()
        mark()
        model(**inputs)
        mark()
        return clock.gaps(marks)

    with torch.no_grad():
        for _ in range(WARM_UP):
            one_pass()
        passes = round(min(max(VISIT_MS / sum(one_pass()), LEAST_PASSES), MOST_PASSES))
        return [one_pass() for _ in range(passes)]


def _fastest(passes: list[list[float]]) -> Timing:
    """The mean of the fastest passes. Whole passes are chosen, so that the parts add up to what is kept."""
    kept = sorted(passes, key=sum)[: max(1, round(FASTEST_SHARE * len(passes)))]
    before, *blocks, after = (sum(gaps) / len(kept) for gaps in zip(*kept, strict=True))
    return Timing(before + after, tuple(blocks))
