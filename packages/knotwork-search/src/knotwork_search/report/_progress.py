"""The part of the page that follows the search over its steps."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from knotwork_search.report._charts import (
    cost_chart,
    entropy_chart,
    expected_costs,
    loss_chart,
    lost_steps,
    multiplier_chart,
    multipliers,
)
from knotwork_search.report._figure import SERIES_COLOURS
from knotwork_search.report._probabilities import (
    ChoiceHistory,
    histories,
    option_colours,
    option_labels,
    probability_chart,
)
from knotwork_search.report._run import Run
from knotwork_search.report._template import figure_html, section_html
from knotwork_search.report._values import mapping


def progress_html(run: Run) -> str:
    """Losses, entropy, expected costs and multipliers."""
    metrics = run.metrics
    lost = lost_steps(metrics)
    figures = [
        figure_html(
            "Losses",
            loss_chart(metrics),
            note="Thick: moving mean; faint: the single steps."
            + (f" {lost:,} logged losses are not finite numbers and are left out." if lost else ""),
        ),
        figure_html("Entropy of the architecture parameters", entropy_chart(metrics)),
    ]
    budget = run.budget()
    figures += [
        figure_html(f"Expected cost: {name}", cost_chart(metrics, name, budget.get(name), at))
        for at, name in enumerate(expected_costs(metrics))
    ]
    legend = [(SERIES_COLOURS[at % len(SERIES_COLOURS)], name, "") for at, name in enumerate(multipliers(metrics))]
    figures.append(figure_html("Budget multiplier", multiplier_chart(metrics), legend_html(legend)))
    drawn = "".join(figures)
    if not drawn:
        return section_html("Progress", "<p>No losses are logged yet.</p>")
    return section_html("Progress", f'<div class="figures">{drawn}</div>')


def probabilities_html(run: Run) -> str:
    """One figure for each choice, its options labelled by their values."""
    choices = mapping(run.space.get("choices"))
    figures = []
    for at, history in enumerate(histories(run.metrics)):
        labels = option_labels(history, choices)
        legend = legend_html(_legend(history, labels))
        figures.append(figure_html(history.name, probability_chart(history, at), legend))
    if not figures:
        return ""
    intro = "<p>How likely each option is: a band that fills its panel has won.</p>"
    return section_html("Choices over time", f'{intro}<div class="figures">{"".join(figures)}</div>')


def _legend(history: ChoiceHistory, labels: Sequence[str]) -> list[tuple[str, str, str]]:
    colours = option_colours(history.options)
    last: list[Any] = history.last()
    shares = ["" if history.per_layer else f"{100 * share:.0f} %" for share in last[0]]
    return list(zip(colours, labels, shares, strict=True))


def legend_html(entries: Sequence[tuple[str, str, str]]) -> str:
    """Swatches with a label and perhaps a value: in HTML, so that labels from a file wrap and are escaped."""
    items = "".join(
        f'<li><span class="swatch" style="background:{colour}"></span>{escape(label)}'
        + (f" <b>{escape(value)}</b>" if value else "")
        + "</li>"
        for colour, label, value in entries
    )
    return f'<ul class="legend">{items}</ul>' if items else ""
