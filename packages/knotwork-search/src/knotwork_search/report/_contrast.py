"""The tables that hold runs against each other, one column a run: the settings that differ, and what came out."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from knotwork_search.report._format import ABSENT, architecture_line, compact, exact, plain, shorten, table_html
from knotwork_search.report._headline import last_expected_cost
from knotwork_search.report._run import Run
from knotwork_search.report._template import section_html
from knotwork_search.report._values import all_keys, mapping, number, numbers, sequence

DATA_SETTINGS = ("dataset", "tokenizer")
"""Settings under which losses mean the same; a training without one takes that of the model it starts from."""


def settings_contrast_html(runs: Sequence[Run]) -> str:
    """The settings that differ between the runs; those that do not are folded away."""
    known = [run for run in runs if run.config]
    names = all_keys((run.config for run in known), any_value=True)
    rows = {name: [_setting(run, name) for run in runs] for name in names}
    differ = [name for name in names if len({_setting(run, name) for run in known}) > 1]
    same = [(name, _setting(known[0], name)) for name in names if name not in differ]
    parts = []
    if differ:
        parts.append(
            table_html(("setting", *(run.name for run in runs)), [[name, *rows[name]] for name in differ], name="runs")
        )
    elif known:
        parts.append("<p>No setting differs.</p>")
    unknown = [run.name for run in runs if not run.config]
    if unknown:
        parts.append(f'<p class="note">{escape("Without settings (no config.yaml): " + ", ".join(unknown) + ".")}</p>')
    if same and len(known) > 1:
        table = table_html((), same, name="pairs")
        parts.append(f"<details><summary>The same in all: {len(same)} settings</summary>{table}</details>")
    return section_html("Settings that differ", "\n".join(parts))


def _setting(run: Run, name: str) -> str:
    return shorten(plain(run.config[name])) if name in run.config else ABSENT


def outcome_contrast_html(runs: Sequence[Run]) -> str:
    """What came out of each run: architecture, costs, validation metrics, what the search took."""
    rows: list[list[object]] = [
        ["state", *(_state(run) for run in runs)],
        ["last step", *(_steps(run) for run in runs)],
        ["architecture", *(architecture_line(run.architecture) or ABSENT for run in runs)],
    ]
    rows += _rows([_costs(run) for run in runs], "{}")
    rows += _rows([dict(run.budget()) for run in runs], "budget: {}")
    rows += _rows([_metrics(run) for run in runs], "validation {}")
    rows += _rows([dict(numbers(mapping(run.training).get("before"))) for run in runs], "validation {} before training")
    rows += _rows([dict(numbers(mapping(run.outcome).get("latency"))) for run in runs], "latency: {}")
    spent = [number(mapping(run.outcome).get("search_flops")) for run in runs]
    if any(flops is not None for flops in spent):
        rows.append(["search FLOPs", *(ABSENT if flops is None else compact(flops) for flops in spent)])
    table = table_html(("", *(run.name for run in runs)), rows, name="runs")
    return section_html("Outcomes", table + "".join(f'<p class="note">{escape(note)}</p>' for note in _cautions(runs)))


def _state(run: Run) -> str:
    if run.result:
        return "trained" if run.is_training else "finished"
    missing = "training.json" if run.is_training else "architecture.json"
    return f"in progress or interrupted: no {missing}"


def _steps(run: Run) -> str:
    if run.last_step is None:
        return "none logged"
    return exact(run.last_step) + ("" if run.planned_steps is None else f" of {exact(run.planned_steps)}")


def _costs(run: Run) -> dict[str, Any]:
    if run.outcome is not None:
        return dict(numbers(run.outcome.get("cost")))
    return {name: f"{compact(value)} expected" for name, value in last_expected_cost(run.metrics).items()}


def _metrics(run: Run) -> dict[str, Any]:
    """Of the found net, or of the trained one, on validation data."""
    if run.is_training:
        return dict(numbers(mapping(run.training).get("after")))
    for entry in map(mapping, sequence(mapping(run.outcome).get("comparison"))):
        if entry.get("name") == "found":
            return dict(numbers(entry.get("metrics")))
    return {}


def _rows(columns: Sequence[dict[str, Any]], heading: str) -> list[list[object]]:
    """A row for each name in any of the columns."""
    names = all_keys(columns, any_value=True)
    return [[heading.format(name), *(column.get(name, ABSENT) for column in columns)] for name in names]


def _cautions(runs: Sequence[Run]) -> list[str]:
    """Why numbers of these runs may not compare."""
    notes = [
        f"The runs differ in {name}: their losses do not compare."
        for name in DATA_SETTINGS
        if len({plain(run.config[name]) for run in runs if run.config.get(name) is not None}) > 1
    ]
    families = dict.fromkeys(plain(run.space["family"]) for run in runs if "family" in run.space)
    if len(families) > 1:
        notes.append(f"The spaces are of different families: {', '.join(families)}.")
    return notes
