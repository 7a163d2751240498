"""What a comparison says of its numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Mean and its standard error."""
    mean = sum(values) / len(values)
    return mean, math.sqrt(variance(values) / len(values))


def variance(values: Sequence[float]) -> float:
    """Of the values as a sample; 0 for a single one."""
    mean = sum(values) / len(values)
    return sum((value - mean) ** 2 for value in values) / max(1, len(values) - 1)


def kendall_tau(one: Sequence[float], other: Sequence[float]) -> float:
    """Kendall's tau-a: agreeing pairs minus disagreeing ones over all pairs."""
    pairs = [(i, j) for i in range(len(one)) for j in range(i)]
    signs = [_sign((one[i] - one[j]) * (other[i] - other[j])) for i, j in pairs]
    return sum(signs) / len(pairs)


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)
