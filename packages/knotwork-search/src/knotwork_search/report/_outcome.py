"""The part of the page that shows what the search found."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from knotwork_search.report._drawing import draw_transformer, read_transformer
from knotwork_search.report._format import ABSENT, architecture_line, compact, plain, shorten, table_html
from knotwork_search.report._run import Run
from knotwork_search.report._template import section_html
from knotwork_search.report._values import all_keys, mapping, numbers, sequence

MOST_ROWS, MOST_SAMPLES, LONGEST_SAMPLE = 100, 20, 20_000


def architecture_html(run: Run) -> str:
    """The found architecture: drawn where its names are a transformer's, and always as a table of its choices."""
    if not run.architecture:
        return ""
    choices = mapping(run.space.get("choices"))
    rows = [
        (name, shorten(plain(sequence(mapping(choices.get(name)).get("options"))) or ABSENT), plain(found))
        for name, found in run.architecture.items()
    ]
    table = table_html(("choice", "options", "found"), rows, name="choices")
    net = read_transformer(run.architecture, run.space)
    if net is None:
        return section_html("The found architecture", table)
    note = "Widths are to scale; dashed is the largest net of the space."
    drawing = f'<figure>{draw_transformer(net)}<figcaption class="note">{note}</figcaption></figure>'
    return section_html("The found architecture", f'<div class="figures">{drawing}<div>{table}</div></div>')


def training_html(run: Run) -> str:
    """What was measured before and after the training of one net."""
    moments = [numbers(mapping(run.training).get(moment)) for moment in ("before", "after")]
    rows = [[name, *(moment.get(name, ABSENT) for moment in moments)] for name in all_keys(moments)]
    return section_html("Before and after", table_html(("metric", "before", "after"), rows)) if rows else ""


def comparison_html(run: Run) -> str:
    """The found net beside its baselines: bars of each cost, then every number in a table."""
    outcome = mapping(run.outcome)
    entries = [mapping(entry) for entry in sequence(outcome.get("comparison"))][:MOST_ROWS]
    if not entries:
        return ""
    budget = run.budget()
    bars = "".join(
        _bars_html(name, [(plain(entry.get("name", "")), numbers(entry.get("cost"))) for entry in entries], budget)
        for name in all_keys(entry.get("cost") for entry in entries)
    )
    costs, metrics = (all_keys(entry.get(part) for entry in entries) for part in ("cost", "metrics"))
    rows = [
        [
            plain(entry.get("name", "")),
            *(mapping(entry.get("cost")).get(name, "") for name in costs),
            *(mapping(entry.get("metrics")).get(name, "") for name in metrics),
            architecture_line(entry.get("architecture")),
        ]
        for entry in entries
    ]
    table = table_html(("net", *costs, *metrics, "architecture"), rows)
    return section_html("Against baselines", f'<div class="figures">{bars}</div>{table}')


def _bars_html(name: str, costs: Sequence[tuple[str, dict[str, float]]], budget: dict[str, float]) -> str:
    limit = budget.get(name)
    full = max([cost[name] for _, cost in costs if name in cost] + ([limit] if limit is not None else []), default=0.0)
    if full <= 0:
        return ""
    lines = []
    for net, cost in costs:
        if name not in cost:
            continue
        mark = "" if limit is None else f'<span class="limit" style="left:{100 * limit / full:.2f}%"></span>'
        kind = " over" if limit is not None and cost[name] > limit else ""
        lines.append(
            f'<div class="bar{kind}"><span class="net">{escape(shorten(net, 40))}</span><span class="track">'
            f'<span class="fill" style="width:{100 * max(0.0, cost[name]) / full:.2f}%"></span>{mark}</span>'
            f'<span class="value">{compact(cost[name])}</span></div>'
        )
    caption = "" if limit is None else f' <span class="budget">budget {compact(limit)}</span>'
    return f'<figure><h3>{escape(name)}{caption}</h3><div class="bars">{"".join(lines)}</div></figure>'


def shortlist_html(run: Run) -> str:
    """The candidates that were compared before one was chosen; the chosen one is marked."""
    outcome = mapping(run.outcome)
    entries = [mapping(entry) for entry in sequence(outcome.get("shortlist"))]
    if not entries:
        return ""
    shown = entries[:MOST_ROWS]
    costs = all_keys(entry.get("cost") for entry in shown)
    plain_keys = [key for key in all_keys(shown, any_value=True) if key not in ("architecture", "cost")]
    rows = [
        [
            at,
            *(entry.get(key, "") for key in plain_keys),
            *(mapping(entry.get("cost")).get(name, "") for name in costs),
            architecture_line(entry.get("architecture")),
        ]
        for at, entry in enumerate(shown, start=1)
    ]
    found = outcome.get("architecture")
    marked = [at for at, entry in enumerate(shown) if found and entry.get("architecture") == found]
    header = ("#", *(key.replace("_", " ") for key in plain_keys), *costs, "architecture")
    left_out = f"<p>The first {MOST_ROWS} of {len(entries):,}.</p>" if len(entries) > MOST_ROWS else ""
    return section_html("Shortlist", left_out + table_html(header, rows, marked=marked))


def samples_html(run: Run) -> str:
    """Texts that the found net generated, as they are."""
    samples = sequence(run.result.get("samples"))[:MOST_SAMPLES]
    texts = [f"<pre>{escape(shorten(plain(sample), LONGEST_SAMPLE))}</pre>" for sample in samples]
    return section_html("Samples", "\n".join(texts)) if texts else ""


def settings_html(run: Run) -> str:
    """The settings, and the versions that the run used."""
    parts = []
    if run.config:
        parts.append("<h3>Settings</h3>" + table_html((), _pairs(run.config), name="pairs"))
    versions = mapping(run.result.get("versions"))
    if versions:
        parts.append("<h3>Versions</h3>" + table_html((), _pairs(versions), name="pairs"))
    columns = "".join(f"<div>{part}</div>" for part in parts)
    return section_html("Settings and versions", f'<div class="figures">{columns}</div>') if parts else ""


def _pairs(entries: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name, shorten(plain(value))) for name, value in entries.items()]
