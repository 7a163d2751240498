"""The front of loss and costs: the architectures that no other one beats in everything (Pareto)."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from knotwork_search._select import Ranked

LOSS = "loss"


def check_objectives(objectives: Sequence[str], currencies: Collection[str]) -> None:
    """Raise ValueError for objectives that span no front."""
    known = [LOSS, *currencies]
    for name in objectives:
        if name not in known:
            raise ValueError(f"the front has no objective {name!r}: known are {known}")
    if objectives and (LOSS not in objectives or not 2 <= len(set(objectives)) == len(objectives) <= 3):
        raise ValueError(f"the front is of {list(objectives)}: name {LOSS} and one or two of {list(currencies)}")


def nondominated(evaluated: Iterable[Ranked], objectives: Sequence[str]) -> list[Ranked]:
    """Those that no other beats in one objective without losing in another, from the cheapest up.

    Args:
        evaluated: architectures with their inherited losses.
        objectives: ``loss`` and one or two currencies; less is better in all.
    """
    # Smaller in every objective comes first, so what dominates an entry is known when it is reached.
    entries = sorted(evaluated, key=lambda entry: _values(entry, objectives))
    front: list[Ranked] = []
    for entry in entries:
        values = _values(entry, objectives)
        if not any(all(a <= b for a, b in zip(_values(kept, objectives), values, strict=True)) for kept in front):
            front.append(entry)
    first = next(name for name in objectives if name != LOSS)
    return sorted(front, key=lambda entry: entry.candidate.cost[first])


def front_csv(points: Sequence[Ranked], objectives: Sequence[str]) -> str:
    """The front as CSV: a point's number, from 1, its objectives, and its architecture; per-layer choices as JSON lists."""
    choices = [name for name, _ in points[0].candidate.architecture.items()] if points else []
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["point", *objectives, *choices])
    for number, point in enumerate(points, start=1):
        architecture = point.candidate.architecture.as_dict()
        writer.writerow([number, *_values(point, objectives), *(architecture[name] for name in choices)])
    return text.getvalue()


def front_record(points: Sequence[Ranked], evaluated: Sequence[Ranked], objectives: Sequence[str]) -> dict[str, Any]:
    """The front, and the objectives of everything that was evaluated, as JSON values."""
    return {
        "objectives": list(objectives),
        "points": [point.as_dict() for point in points],
        "evaluated": [dict(zip(objectives, _values(entry, objectives), strict=True)) for entry in evaluated],
    }


def _values(entry: Ranked, objectives: Sequence[str]) -> tuple[float, ...]:
    return tuple(entry.loss if name == LOSS else entry.candidate.cost[name] for name in objectives)
