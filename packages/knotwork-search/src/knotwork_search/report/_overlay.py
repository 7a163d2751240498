"""The charts that lay the curves of several runs over each other, one colour a run."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from knotwork_search.report._charts import SMOOTH_POINTS
from knotwork_search.report._figure import SERIES_COLOURS, Plot, label_axes
from knotwork_search.report._run import Run
from knotwork_search.report._series import Series, quantile, series, smooth, thin
from knotwork_search.report._values import number

COLOURS = (*SERIES_COLOURS, "#c2559d", "#7d8794", "#a07c2c")
DASHES = {"solid": "-", "dashed": (0, (5, 2)), "dotted": (0, (1, 1.5))}
"""Styles of a line, as CSS and matplotlib name them: the colours come again in the next style."""
POINTS_ON_CHART = 6000  # over all curves
AS_LOGGED = ("incumbent", "validation")
"""Splits that say how good one net is: few points, and no noise of batches to smooth."""

Curve = Callable[[Run], Series]


def stroke(at: int) -> tuple[str, str]:
    """The colour of the `at`-th run and the CSS style of its lines."""
    return COLOURS[at % len(COLOURS)], list(DASHES)[at // len(COLOURS) % len(DASHES)]


def over_steps(split: str) -> Curve:
    """The losses of `split` over the steps."""
    return lambda run: _drawn(split, series(run.metrics, split, "loss"))


def over_flops(split: str) -> Curve:
    """The losses of `split` over the floating-point operations that the run had spent by then."""
    return lambda run: _drawn(split, _against_flops(run.metrics, split))


def entropy(run: Run) -> Series:
    """The entropy of the architecture parameters over the steps."""
    return series(run.metrics, "architecture", "entropy")


def _drawn(split: str, raw: Series) -> Series:
    return raw if split in AS_LOGGED else smooth(raw)


def _against_flops(metrics: list[dict[str, Any]], split: str) -> Series:
    # Not every line tells what was spent: those that do not stand where the last step that does had come to.
    spent = series(metrics, "weight", "flops")
    found: dict[float, float] = {}
    for record in metrics:
        if record.get("split") != split:
            continue
        step, loss, flops = (number(record.get(key)) for key in ("step", "loss", "flops"))
        if flops is None and step is not None:
            before = bisect_right(spent.steps, step)
            flops = spent.values[before - 1] if before else None
        if loss is not None and flops is not None:
            found[flops] = loss
    ordered = sorted(found)
    return Series(ordered, [found[flops] for flops in ordered])


@dataclass(frozen=True)
class Chart:
    """One curve of every run in one chart.

    Attributes:
        name: of the figure.
        heading: what stands above it.
        curve: what of a run is drawn.
        label: of the vertical axis.
        across: of the horizontal axis; the step where it is empty.
        note: what stands below it.
        floor: whether the vertical axis starts at zero.
        least: points that some run must have, or there is no chart.
    """

    name: str
    heading: str
    curve: Curve
    label: str = "loss"
    across: str = ""
    note: str = ""
    floor: bool = False
    least: int = 1


def overlay_chart(chart: Chart, curves: Sequence[Series]) -> str:
    """The `chart.curve` of each run, in the order of their colours, as an SVG; empty where no run has enough of one."""
    if max(map(len, curves)) < chart.least:
        return ""
    points = max(50, min(SMOOTH_POINTS, POINTS_ON_CHART // len(curves)))
    drawn = [thin(curve, points) for curve in curves]
    values = [value for shown in drawn for value in shown.values]
    with Plot(chart.name, height=2.9) as plot:
        (axes,) = plot.axes
        for at, shown in enumerate(drawn):
            colour, style = stroke(at)
            # A line through one point is invisible.
            marker = {"marker": "o", "markersize": 4} if len(shown) == 1 else {}
            axes.plot(shown.steps, shown.values, color=colour, linestyle=DASHES[style], **marker)
        # One exploded step must not flatten the rest of the curves.
        low, high = 0.0 if chart.floor else min(values), max(values) if chart.floor else quantile(values, 0.995)
        margin = 0.06 * (high - low) or 0.5
        axes.set_ylim(low if chart.floor else low - margin, high + margin)
        axes.set_ylabel(chart.label)
        label_axes(axes, steps=not chart.across)
        if chart.across:
            axes.set_xlabel(chart.across)
    return plot.svg
