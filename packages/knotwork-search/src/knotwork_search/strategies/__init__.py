"""Search strategies by name. A new one is a file here and a line in ``STRATEGIES``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from inspect import Parameter, signature

from knotwork_ops import SearchSpace

from knotwork_search._protocols import Strategy
from knotwork_search.strategies.darts import DARTS, SecondOrderDARTS
from knotwork_search.strategies.drnas import DrNAS
from knotwork_search.strategies.gdas import GDAS
from knotwork_search.strategies.sandwich import Sandwich
from knotwork_search.strategies.spos import SPOS

STRATEGIES: dict[str, Callable[..., Strategy]] = {
    "drnas": DrNAS,
    "darts": DARTS,
    "darts-2nd": SecondOrderDARTS,
    "gdas": GDAS,
    "spos-rs": partial(SPOS, searcher="random"),
    "spos-re": partial(SPOS, searcher="evolution"),
    "spos-nsga2": partial(SPOS, searcher="nsga2"),
    "sandwich-rs": partial(Sandwich, searcher="random"),
    "sandwich-re": partial(Sandwich, searcher="evolution"),
    "sandwich-nsga2": partial(Sandwich, searcher="nsga2"),
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
    taken = list(signature(STRATEGIES[name]).parameters.values())[2:]
    known = [parameter.name for parameter in taken if parameter.kind is Parameter.POSITIONAL_OR_KEYWORD]
    for option in options or {}:
        if option not in known:
            raise ValueError(f"the strategy {name!r} has no option {option!r}: it has {known or 'none'}")
    return STRATEGIES[name](space, max_steps, **(options or {}))


__all__ = ["DARTS", "GDAS", "SPOS", "STRATEGIES", "DrNAS", "Sandwich", "SecondOrderDARTS", "strategy"]
