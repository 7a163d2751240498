"""The top of the page: what was searched, what was found, and the few numbers that matter."""

from __future__ import annotations

from html import escape
from typing import Any

from knotwork_search.report._format import architecture_line, compact, exact, plain, shorten
from knotwork_search.report._run import Run
from knotwork_search.report._series import names, quantile, series
from knotwork_search.report._values import mapping, number, numbers, sequence

_PER_SECOND = "_per_second"  # what the recorder names a throughput by: tokens_per_second, images_per_second


def title(run: Run) -> str:
    """The page's title in plain text."""
    outcome = mapping(run.outcome)
    strategy = outcome.get("strategy", run.config.get("strategy"))
    family = mapping(outcome.get("space")).get("family")
    words = [plain(strategy)] if strategy is not None else ["Architecture"]
    words += ["search", *(["in", plain(family)] if family is not None else [])]
    return shorten(" ".join(words), 120)


def headline_html(run: Run) -> str:
    """Title, the found architecture in a line (or that the run goes on), and tiles of numbers."""
    outcome = mapping(run.outcome)
    steps = [step for step in (number(record.get("step")) for record in run.metrics) if step is not None]
    facts = [f"run {run.name}"]
    if "seed" in outcome:
        facts.append(f"seed {plain(outcome['seed'])}")
    if steps:
        facts.append(f"up to step {exact(max(steps))}")
    found = architecture_line(outcome.get("architecture"))
    if run.outcome is None:
        state = "<p class='state'>This run is in progress: it has no architecture yet (no architecture.json).</p>"
    elif not found:
        state = "<p class='state'>architecture.json names no architecture.</p>"
    else:
        state = f"<p class='found'>{escape(found)}</p>"
    tiles = "".join(
        _tile_html(*tile) for tile in [*_cost_tiles(run), *_latency_tiles(run), *_loss_tiles(run), *_speed_tiles(run.metrics)]
    )
    return (
        f"<header><h1>{escape(title(run))}</h1><p class='facts'>{escape(' · '.join(facts))}</p>{state}"
        f"<div class='tiles'>{tiles}</div></header>"
    )


def _tile_html(name: str, value: str, note: str = "", kind: str = "") -> str:
    return (
        f'<div class="tile {kind}"><span class="name">{escape(name)}</span><span class="value">{escape(value)}</span>'
        f'<span class="note">{escape(note)}</span></div>'
    )


def _cost_tiles(run: Run) -> list[tuple[str, str, str, str]]:
    budget = run.budget()
    expected = run.outcome is None
    cost = _last_expected_cost(run.metrics) if expected else numbers(mapping(run.outcome).get("cost"))
    tiles = []
    for name, value in cost.items():
        limit = budget.get(name)
        note, kind = ("no budget", "") if limit is None else _against(value, limit)
        tiles.append((name, compact(value), f"expected, {note}" if expected else note, kind))
    # A budget on something that was not measured must not pass unseen.
    tiles += [(name, "?", f"budget {compact(limit)}", "") for name, limit in budget.items() if name not in cost]
    return tiles


def _latency_tiles(run: Run) -> list[tuple[str, str, str, str]]:
    """What was predicted of the found model's latency beside what was measured."""
    latency = numbers(mapping(run.outcome).get("latency"))
    if not {"predicted_ms", "measured_ms", "limit_ms"} <= latency.keys():
        return []
    predicted, measured = latency["predicted_ms"], latency["measured_ms"]
    note, kind = _against(measured, latency["limit_ms"])
    return [("latency, predicted / measured", f"{compact(predicted)} / {compact(measured)} ms", f"measured: {note} ms", kind)]


def _against(value: float, limit: float) -> tuple[str, str]:
    share = f"{100 * value / limit:.1f} % of {compact(limit)}" if limit > 0 else f"budget {compact(limit)}"
    return (share, "good") if value <= limit else (f"{share}, over budget", "bad")


def _last_expected_cost(metrics: list[dict[str, Any]]) -> dict[str, float]:
    followed = {
        name: series(metrics, "architecture", "expected_cost", name) for name in names(metrics, "architecture", "expected_cost")
    }
    return {name: cost.values[-1] for name, cost in followed.items() if len(cost)}


def _loss_tiles(run: Run) -> list[tuple[str, str, str]]:
    for entry in map(mapping, sequence(mapping(run.outcome).get("comparison"))):
        loss = number(mapping(entry.get("metrics")).get("loss"))
        if entry.get("name") == "found" and loss is not None:
            return [("loss", f"{loss:.4g}", "of the found net")]
    for split in ("validation", "architecture", "weight"):
        losses = series(run.metrics, split, "loss")
        if len(losses):
            return [("loss", f"{losses.values[-1]:.4g}", f"supernet, {split}, step {exact(losses.steps[-1])}")]
    return []


def _speed_tiles(metrics: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    keys = {key for record in metrics for key in record if key.endswith(_PER_SECOND)}
    for key in sorted(keys):
        speeds = series(metrics, "weight", key)
        if len(speeds):
            name = key.removesuffix(_PER_SECOND)
            return [("speed", compact(quantile(speeds.values, 0.5)), f"{name} a second, median")]
    return []
