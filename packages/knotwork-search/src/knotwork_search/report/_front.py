"""The part of the page that shows the front of loss and costs."""

from __future__ import annotations

from typing import Any

from knotwork_search.report._figure import BLUE, ORANGE, Plot, label_axes
from knotwork_search.report._format import architecture_line, shorten, table_html
from knotwork_search.report._run import Run
from knotwork_search.report._template import figure_html, section_html
from knotwork_search.report._values import mapping, number, numbers, sequence

LOSS = "loss"
MOST_DRAWN, MOST_ROWS, MOST_OBJECTIVES = 2000, 100, 3


def front_html(run: Run) -> str:
    """Loss over each cost, of all that was evaluated and of the front, then the front's points as a table."""
    front = mapping(mapping(run.outcome).get("front"))
    objectives = [name for name in sequence(front.get("objectives")) if isinstance(name, str)][:MOST_OBJECTIVES]
    points = [mapping(point) for point in sequence(front.get("points"))][:MOST_ROWS]
    if not points or LOSS not in objectives:
        return ""
    values = [{**numbers(point.get("cost")), LOSS: number(point.get(LOSS))} for point in points]
    evaluated = [numbers(entry) for entry in sequence(front.get("evaluated"))][:MOST_DRAWN]
    costs = [name for name in objectives if name != LOSS]
    figures = "".join(
        figure_html(
            shorten(f"Loss over {name}", 80),
            _chart(at, name, values, evaluated),
            note="Each dot was evaluated with inherited weights; the numbered ones are the front.",
        )
        for at, name in enumerate(costs)
    )
    rows = [
        [at, *(value.get(name, "") for name in objectives), architecture_line(point.get("architecture"))]
        for at, (point, value) in enumerate(zip(points, values, strict=True), start=1)
    ]
    table = table_html(("point", *objectives, "architecture"), rows)
    return section_html("The front", f'<div class="figures">{figures}</div>{table}')


def _chart(at: int, name: str, front: list[dict[str, Any]], evaluated: list[dict[str, float]]) -> str:
    drawn = [(entry[name], entry[LOSS]) for entry in evaluated if name in entry and LOSS in entry]
    numbered = [
        (number, entry[name], entry[LOSS]) for number, entry in enumerate(front, start=1) if entry.get(name) and entry.get(LOSS)
    ]
    if not numbered:
        return ""
    with Plot(f"front-{at}", height=2.9) as plot:
        (axes,) = plot.axes
        axes.plot([cost for cost, _ in drawn], [loss for _, loss in drawn], "o", color=BLUE, alpha=0.35, markersize=3)
        axes.plot([cost for _, cost, _ in numbered], [loss for _, _, loss in numbered], "o", color=ORANGE, markersize=4.5)
        for point, cost, loss in numbered:
            axes.annotate(str(point), (cost, loss), xytext=(3, 3), textcoords="offset points")
        axes.set_ylabel(LOSS)
        label_axes(axes, steps=False)
        axes.set_xlabel(shorten(name, 40))
    return plot.svg
