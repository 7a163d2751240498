"""The charts of numbers over steps: losses, the alphas' entropy, expected costs and the budget's multipliers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from knotwork_search.report._figure import BLUE, GREEN, ORANGE, RED, SERIES_COLOURS, Plot, label_axes
from knotwork_search.report._format import compact
from knotwork_search.report._series import (
    Series,
    names,
    quantile,
    series,
    smooth,
    thin,
    thin_keeping_extremes,
)
from knotwork_search.report._values import number

RAW_POINTS, SMOOTH_POINTS = 1000, 500


def loss_chart(metrics: list[dict[str, Any]]) -> str:
    """Losses of the weight and architecture steps, smoothed over the faint raw ones, and validation points."""
    drawn = {split: series(metrics, split, "loss") for split in ("weight", "architecture", "validation")}
    if not any(len(entry) for entry in drawn.values()):
        return ""
    in_view: list[float] = []
    with Plot("losses", height=2.9) as plot:
        (axes,) = plot.axes
        for split, colour in (("weight", BLUE), ("architecture", ORANGE)):
            raw = drawn[split]
            if not len(raw):
                continue
            shown = thin_keeping_extremes(raw, RAW_POINTS)
            smoothed = thin(smooth(raw), SMOOTH_POINTS)
            axes.plot(shown.steps, shown.values, color=colour, alpha=0.25, linewidth=0.7)
            axes.plot(smoothed.steps, smoothed.values, color=colour, label=split, **_marker(smoothed))
            # One exploded step must not flatten the rest of the curve.
            in_view += [*smoothed.values, quantile(raw.values, 0.005), quantile(raw.values, 0.995)]
        points = thin(drawn["validation"], SMOOTH_POINTS)
        if len(points):
            axes.plot(points.steps, points.values, "o", color=GREEN, markersize=4, label="validation")
            in_view += points.values
        low, high = quantile(in_view, 0.0), quantile(in_view, 0.995)
        margin = 0.06 * (high - low) or 0.5
        axes.set_ylim(low - margin, high + margin)
        axes.set_ylabel("loss")
        axes.legend(loc="upper right")
        label_axes(axes)
    return plot.svg


def lost_steps(metrics: Iterable[dict[str, Any]]) -> int:
    """How many lines have a loss that is not a finite number."""
    return sum("loss" in record and number(record["loss"]) is None for record in metrics)


def entropy_chart(metrics: list[dict[str, Any]]) -> str:
    """The entropy of the architecture parameters: it falls as the search makes up its mind."""
    entropy = thin(series(metrics, "architecture", "entropy"), SMOOTH_POINTS)
    if not len(entropy):
        return ""
    with Plot("entropy") as plot:
        (axes,) = plot.axes
        axes.plot(entropy.steps, entropy.values, color=SERIES_COLOURS[3], **_marker(entropy))
        axes.set_ylim(0, max(1.0, *entropy.values) * 1.05)
        axes.set_ylabel("entropy")
        label_axes(axes)
    return plot.svg


def expected_costs(metrics: list[dict[str, Any]]) -> list[str]:
    """The names of the costs that the search followed."""
    return names(metrics, "architecture", "expected_cost")


def cost_chart(metrics: list[dict[str, Any]], name: str, limit: float | None, at: int) -> str:
    """The expected cost `name` (the `at`-th, which only names the figure) with its budget as a dashed line."""
    full = series(metrics, "architecture", "expected_cost", name)
    if not len(full):
        return ""
    cost, shown = thin(smooth(full), SMOOTH_POINTS), thin_keeping_extremes(full, RAW_POINTS)
    with Plot(f"expected-cost-{at}") as plot:
        (axes,) = plot.axes
        axes.plot(shown.steps, shown.values, color=BLUE, alpha=0.25, linewidth=0.7)
        axes.plot(cost.steps, cost.values, color=BLUE, **_marker(cost))
        values = list(shown.values)
        if limit is not None:
            values.append(limit)
            axes.axhline(limit, color=RED, linestyle=(0, (5, 3)), linewidth=1.2)
            axes.annotate(
                f"budget {compact(limit)}",
                xy=(1, limit),
                xycoords=("axes fraction", "data"),
                xytext=(0, 3),
                textcoords="offset points",
                ha="right",
                color=RED,
            )
        low, high = min(values), max(values)
        margin = 0.15 * (high - low) or 0.05 * abs(high) or 1.0
        axes.set_ylim(low - margin, high + margin)
        label_axes(axes)
    return plot.svg


def multiplier_chart(metrics: list[dict[str, Any]]) -> str:
    """The multiplier of each budget: it rises while the expected cost is over the limit."""
    drawn = {name: series(metrics, "architecture", "multiplier", name) for name in multipliers(metrics)}
    if not drawn:
        return ""
    with Plot("multipliers") as plot:
        (axes,) = plot.axes
        for at, full in enumerate(drawn.values()):
            shown = thin(full, SMOOTH_POINTS)
            axes.plot(shown.steps, shown.values, color=SERIES_COLOURS[at % len(SERIES_COLOURS)], **_marker(shown))
        axes.set_ylabel("multiplier")
        label_axes(axes)
    return plot.svg


def multipliers(metrics: list[dict[str, Any]]) -> list[str]:
    """The names of the budgets that have a multiplier, in the order of their colours in `multiplier_chart`."""
    return [
        name
        for name in names(metrics, "architecture", "multiplier")
        if len(series(metrics, "architecture", "multiplier", name))
    ]


def _marker(drawn: Series) -> dict[str, Any]:
    # A line through one point is invisible.
    return {"marker": "o", "markersize": 4} if len(drawn) == 1 else {}
