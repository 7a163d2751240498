"""Numbers over steps: taken out of the metrics, smoothed, and thinned to what a small chart can show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from knotwork_search.report._values import mapping, number


@dataclass(frozen=True)
class Series:
    """Values over ascending steps."""

    steps: list[float]
    values: list[float]

    def __len__(self) -> int:
        return len(self.steps)


def series(metrics: Iterable[dict[str, Any]], split: str, key: str, name: str | None = None) -> Series:
    """`key` of the lines of `split` over their steps, or entry `name` of the mapping at `key`.

    A run that was killed and resumed writes some steps twice; the later line holds.
    """
    found: dict[float, float] = {}
    for record in metrics:
        if record.get("split") != split:
            continue
        step = number(record.get("step"))
        value = number(record.get(key) if name is None else mapping(record.get(key)).get(name))
        if step is not None and value is not None:
            found[step] = value
    steps = sorted(found)
    return Series(steps, [found[step] for step in steps])


def names(metrics: Iterable[dict[str, Any]], split: str, key: str) -> list[str]:
    """The names in the mappings at `key` of the lines of `split`, in order of appearance."""
    found: dict[str, None] = {}
    for record in metrics:
        if record.get("split") == split:
            found.update(dict.fromkeys(mapping(record.get(key))))
    return list(found)


def smooth(raw: Series) -> Series:
    """The centred moving mean over a fortieth of the run: unlike an exponential mean it does not lag."""
    half = max(1, len(raw) // 80)
    totals = [0.0, *accumulate(raw.values)]
    values = []
    for at in range(len(raw)):
        # The window shrinks on both sides alike near an end, so that the curve is not pulled towards the middle.
        reach = min(half, at, len(raw) - 1 - at)
        values.append((totals[at + reach + 1] - totals[at - reach]) / (2 * reach + 1))
    return Series(raw.steps, values)


def thin_indices(count: int, limit: int) -> list[int]:
    """At most `limit` indices spread evenly over `range(count)`, with both ends."""
    if count <= limit:
        return list(range(count))
    return [round(at * (count - 1) / (limit - 1)) for at in range(limit)]


def thin(full: Series, limit: int) -> Series:
    """At most `limit` points of `full`, evenly spread; for smooth curves."""
    kept = thin_indices(len(full), limit)
    return Series([full.steps[at] for at in kept], [full.values[at] for at in kept])


def thin_keeping_extremes(full: Series, limit: int) -> Series:
    """At most `limit` points of `full`: the lowest and the highest of each stretch, so that spikes stay visible."""
    if len(full) <= limit:
        return full
    stretches = limit // 2
    kept: list[int] = []
    for stretch in range(stretches):
        inside = range(stretch * len(full) // stretches, (stretch + 1) * len(full) // stretches)
        kept.extend(sorted({min(inside, key=full.values.__getitem__), max(inside, key=full.values.__getitem__)}))
    return Series([full.steps[at] for at in kept], [full.values[at] for at in kept])


def quantile(values: Sequence[float], fraction: float) -> float:
    """The value below which about `fraction` of the non-empty `values` lie."""
    ordered = sorted(values)
    return ordered[round(fraction * (len(ordered) - 1))]
