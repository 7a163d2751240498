"""What norms over prefixes share: sums over the units that each option adds to the one before it.

Statistics have the shape (options, rows): those of one option are contiguous.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

Edges = tuple[int, ...]


def segments_of(prefixes: Edges) -> list[slice]:
    """The units that each option adds to the one before it."""
    return [slice(start, end) for start, end in zip((0, *prefixes), prefixes, strict=False)]


def prefix_sums(segment_values: Sequence[Tensor]) -> Tensor:
    """The segments' values summed over each option's prefix."""
    return torch.stack(list(accumulate(segment_values)))


def suffix_sums(option_values: Tensor) -> Tensor:
    """What each segment gets: its own option's value and those of all larger ones."""
    return torch.stack(list(accumulate(reversed(option_values.unbind())))[::-1])
