"""From timed nets to a table: one net for every combination that a block depends on, or for some with lines between them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Any

import numpy
import torch
from knotwork_ops import DEPTH, Architecture, Option, SearchSpace
from torch import Tensor

from knotwork_search._protocols import TimedSupernet
from knotwork_search.latency._table import LatencyTable, monotone
from knotwork_search.latency._timing import Timing

MOST_NETS = 64
"""Combinations that are timed. Of more, options between timed ones are interpolated."""


def table_of(supernet: TimedSupernet, timings: Sequence[Timing]) -> LatencyTable:
    """The latency table that follows from the timings of ``covering_architectures(supernet)``, in their order."""
    space, shared, inside = supernet.space, shared_choices(supernet), supernet.block_choices
    timed = timed_options(space, (*shared, *inside))
    shape = [len(options) for options in timed.values()]
    # Every net has blocks of one kind alone: together they say best what one takes among its like.
    blocks = torch.tensor([sum(timing.blocks) / len(timing.blocks) for timing in timings], dtype=torch.float64).reshape(shape)
    outside = torch.tensor([timing.outside for timing in timings], dtype=torch.float64)
    # The rest is the same in every net that shares the options of `shared`.
    outside = outside.reshape(*shape[: len(shared)], -1).mean(-1)
    for axis, (name, options) in enumerate(timed.items()):
        blocks = _interpolated(blocks, axis, space[name].options, options)
        if name in shared:
            outside = _interpolated(outside, axis, space[name].options, options)
    return LatencyTable(space, shared, inside, monotone(outside), monotone(blocks))


def shared_choices(supernet: TimedSupernet) -> tuple[str, ...]:
    """The choices that all blocks share, depth apart."""
    return tuple(choice.name for choice in supernet.space if choice.name not in (DEPTH, *supernet.block_choices))


def covering_architectures(supernet: TimedSupernet) -> list[Architecture]:
    """The architectures that a table is built from: of middling depth, with the same timed options in every layer.

    A block takes a little longer where there are more of them, for they share the caches.
    """
    space = supernet.space
    timed = timed_options(space, (*shared_choices(supernet), *supernet.block_choices))
    depths = space[DEPTH].options
    depth = {DEPTH: depths[len(depths) // 2]}
    return [space.architecture(depth | dict(zip(timed, options, strict=True))) for options in product(*timed.values())]


def timed_options(space: SearchSpace, names: tuple[str, ...]) -> dict[str, tuple[Option, ...]]:
    """The options of each choice that are timed: all, or evenly spread ones where all would be too many combinations."""
    counts = {name: len(space[name].options) for name in names}
    while prod(counts.values()) > MOST_NETS and max(counts.values()) > 2:
        longest = max(counts, key=lambda name: counts[name])
        counts[longest] -= 1
    spread = {name: numpy.linspace(0, len(space[name].options) - 1, count).round() for name, count in counts.items()}
    return {name: tuple(space[name].options[int(at)] for at in positions) for name, positions in spread.items()}


def _interpolated(table: Tensor, axis: int, options: tuple[Any, ...], timed: tuple[Any, ...]) -> Tensor:
    """The table with an axis of all options in place of one of the timed ones, on straight lines between those."""
    shares = numpy.stack([numpy.interp(options, timed, one) for one in numpy.eye(len(timed))])
    return (table.movedim(axis, -1) @ torch.from_numpy(shares)).movedim(-1, axis)
