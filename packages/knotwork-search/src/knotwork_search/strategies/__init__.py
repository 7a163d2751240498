"""Search strategies by name. A new one is a file here and a line in ``STRATEGIES``."""

from __future__ import annotations

from collections.abc import Callable

from knotwork_ops import SearchSpace

from knotwork_search._protocols import Strategy
from knotwork_search.strategies.darts import DARTS
from knotwork_search.strategies.drnas import DrNAS
from knotwork_search.strategies.gdas import GDAS
from knotwork_search.strategies.spos import SPOS

STRATEGIES: dict[str, Callable[[SearchSpace, int], Strategy]] = {
    "drnas": DrNAS,
    "darts": DARTS,
    "gdas": GDAS,
    "spos": SPOS,
}


def strategy(name: str, space: SearchSpace, max_steps: int) -> Strategy:
    """The strategy of a name, for a search of ``max_steps``. Raises ValueError that lists the names there are."""
    if name not in STRATEGIES:
        raise ValueError(f"unknown strategy {name!r}: known are {list(STRATEGIES)}")
    return STRATEGIES[name](space, max_steps)


__all__ = ["DARTS", "GDAS", "SPOS", "STRATEGIES", "DrNAS", "strategy"]
