"""Search strategies by name. A new one is a file here and a line in ``STRATEGIES``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import signature

from knotwork_ops import SearchSpace

from knotwork_search._protocols import Strategy
from knotwork_search.strategies.darts import DARTS, SecondOrderDARTS
from knotwork_search.strategies.drnas import DrNAS
from knotwork_search.strategies.gdas import GDAS
from knotwork_search.strategies.spos import SPOS

STRATEGIES: dict[str, Callable[..., Strategy]] = {
    "drnas": DrNAS,
    "darts": DARTS,
    "darts-2nd": SecondOrderDARTS,
    "gdas": GDAS,
    "spos": SPOS,
}


def strategy(name: str, space: SearchSpace, max_steps: int, options: Mapping[str, float] | None = None) -> Strategy:
    """The strategy of a name, for a search of ``max_steps``.

    Args:
        name: one of ``STRATEGIES``.
        space: the search space.
        max_steps: of the search.
        options: what else its class takes, such as ``{"tau_end": 1.0}`` for GDAS.

    Raises:
        ValueError: an unknown name or option; the message lists those there are.
    """
    if name not in STRATEGIES:
        raise ValueError(f"unknown strategy {name!r}: known are {list(STRATEGIES)}")
    known = list(signature(STRATEGIES[name]).parameters)[2:]
    for option in options or {}:
        if option not in known:
            raise ValueError(f"the strategy {name!r} has no option {option!r}: it has {known or 'none'}")
    return STRATEGIES[name](space, max_steps, **(options or {}))


__all__ = ["DARTS", "GDAS", "SPOS", "STRATEGIES", "DrNAS", "SecondOrderDARTS", "strategy"]
