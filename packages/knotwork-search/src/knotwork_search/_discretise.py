"""From probabilities to architectures: the likeliest ones within a budget, by exact best-first enumeration."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice

from knotwork_ops import DEPTH, Architecture, Choice, Mixture, Option, SearchSpace

from knotwork_search._budget import Budget, costs
from knotwork_search._protocols import Supernet

LOWER_SHARES = (0.8, 0.7, 0.6, 0.5, 0.25, 0.0)
"""Shares of the budget to settle for, one after the other, when no architecture uses as much as was asked."""


@dataclass(frozen=True)
class Candidate:
    """An architecture with its log-probability relative to the likeliest one's, and its exact cost."""

    architecture: Architecture
    log_probability: float
    cost: dict[str, float]


@dataclass(frozen=True)
class _Slot:
    """One decision: a choice, or one layer of a per-layer choice, with its options from the likeliest down."""

    choice: Choice
    layer: int | None
    options: tuple[Option, ...]
    scores: tuple[float, ...]


def shortlist(
    supernet: Supernet, probabilities: Mixture, budget: Budget, size: int, *, least_share: float = 0.0
) -> list[Candidate]:
    """The ``size`` likeliest architectures that meet the budget and use at least ``least_share`` of it, likeliest first.

    Scores are relative to each decision's likeliest option, so that having more decisions makes no deep net unlikely. Fewer are
    returned when the space holds fewer. When none uses that share of the budget, the share is lowered until one does.

    Raises:
        ValueError: no architecture meets the budget.
    """
    for share in shares_to_try(least_share):
        found = list(islice(likeliest(supernet, probabilities, budget, share), size))
        if found:
            return found
    raise ValueError(f"no architecture of this space meets the budget {dict(budget.limits)}")


def shares_to_try(least_share: float) -> tuple[float, ...]:
    """The share of the budget that was asked for, and the lower ones to settle for."""
    return (least_share, *(lower for lower in LOWER_SHARES if lower < least_share))


def likeliest(supernet: Supernet, probabilities: Mixture, budget: Budget, least_share: float = 0.0) -> Iterator[Candidate]:
    """All architectures within the budget from the likeliest down.

    Decisions are taken one after the other; an unfinished architecture is dropped as soon as its cheapest completion is over
    the budget or its dearest one uses too little, which is exact because cost never falls when an option grows.
    """
    space, order = supernet.space, _costly_first(supernet)
    tie = count()
    heap: list[tuple[float, int, tuple[int, ...]]] = [(0.0, next(tie), ())]
    while heap:
        score, _, taken = heapq.heappop(heap)
        slots = _slots(order, probabilities, taken)
        if len(taken) == len(slots):
            architecture = _complete(space, slots, taken, largest=False)
            yield Candidate(architecture, -score, costs(supernet, architecture))
            continue
        slot = slots[len(taken)]
        for option in range(len(slot.options)):
            longer = (*taken, option)
            grown = _slots(order, probabilities, longer)
            cheapest = costs(supernet, _complete(space, grown, longer, largest=False))
            dearest = costs(supernet, _complete(space, grown, longer, largest=True))
            if budget.met_by(cheapest) and budget.used_by(dearest, least_share):
                heapq.heappush(heap, (score - slot.scores[option], next(tie), longer))


def _costly_first(supernet: Supernet) -> list[Choice]:
    """The choices by how much their largest option costs over their smallest, dearest first.

    Decisions that cost nothing, such as head counts, come last: by then every unfinished architecture is known to fit, so
    the enumeration never multiplies them out in vain.
    """
    smallest = supernet.space.smallest
    floor = costs(supernet, smallest)

    def extra(choice: Choice) -> float:
        if choice.name == DEPTH:
            return math.inf
        grown = supernet.space.architecture({**smallest.as_dict(), choice.name: choice.options[-1]})
        return max((value / floor[name] for name, value in costs(supernet, grown).items()), default=0.0)

    return sorted(supernet.space, key=extra, reverse=True)


def _slots(order: list[Choice], probabilities: Mixture, taken: tuple[int, ...]) -> list[_Slot]:
    """The decisions to take, uniform choices first; per-layer ones only for the layers that the depth taken leaves."""
    slots = [_slot(choice, None, probabilities) for choice in order if not choice.per_layer]
    layers = math.inf
    for slot, option in zip(slots, taken, strict=False):
        if slot.choice.name == DEPTH:
            layers = slot.options[option]
    for choice in order:
        if choice.layers is not None:
            slots += [
                _slot(choice, layer, probabilities) for layer in range(min(choice.layers, int(min(layers, choice.layers))))
            ]
    return slots


def _slot(choice: Choice, layer: int | None, probabilities: Mixture) -> _Slot:
    weights = probabilities[choice.name] if layer is None else probabilities[choice.name][layer]
    pairs = zip(weights.detach().double().clamp_min(1e-12).log().tolist(), choice.options, strict=True)
    ranked = sorted(pairs, key=lambda pair: -pair[0])
    return _Slot(choice, layer, tuple(o for _, o in ranked), tuple(s - ranked[0][0] for s, _ in ranked))


def _complete(space: SearchSpace, slots: list[_Slot], taken: tuple[int, ...], *, largest: bool) -> Architecture:
    """The architecture of the decisions taken, with the largest or smallest option in place of those to come."""
    values: dict[str, object] = {}
    per_layer: dict[str, list[Option]] = {}
    for number, slot in enumerate(slots):
        option = slot.options[taken[number]] if number < len(taken) else slot.choice.options[-1 if largest else 0]
        if slot.layer is None:
            values[slot.choice.name] = option
        else:
            per_layer.setdefault(slot.choice.name, []).append(option)
    for name, options in per_layer.items():
        values[name] = options[: values[DEPTH]] if DEPTH in values else options  # type: ignore[misc]
    return space.architecture(values)
