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
    if run.is_training:
        model = plain({**run.config, **run.result}.get("model", "a model"))
        return shorten(f"Training of {model}", 120)
    strategy = mapping(run.outcome).get("strategy", run.config.get("strategy"))
    family = run.space.get("family")
    words = [plain(strategy)] if strategy is not None else ["Architecture"]
    words += ["search", *(["in", plain(family)] if family is not None else [])]
    return shorten(" ".join(words), 120)


def headline_html(run: Run) -> str:
    """Title, the found architecture in a line (or that the run goes on), and tiles of numbers."""
    facts = [f"run {run.name}"]
    if "seed" in run.result:
        facts.append(f"seed {plain(run.result['seed'])}")
    if run.last_step is not None:
        planned = run.planned_steps
        facts.append(f"up to step {exact(run.last_step)}" + ("" if planned is None else f" of {exact(planned)}"))
    state = state_of(run)
    found = "" if state else architecture_line(run.architecture)
    line = f"<p class='found'>{escape(found)}</p>" if found else f"<p class='state'>{escape(state)}</p>" if state else ""
    tiles = "".join(
        _tile_html(*tile) for tile in [*_cost_tiles(run), *_latency_tiles(run), *_loss_tiles(run), *_speed_tiles(run.metrics)]
    )
    return (
        f"<header><h1>{escape(title(run))}</h1><p class='facts'>{escape(' · '.join(facts))}</p>{line}"
        f"<div class='tiles'>{tiles}</div></header>"
    )


def state_of(run: Run) -> str:
    """What a run without a found architecture is, in a sentence; empty for a training or a search that is finished."""
    if run.is_training:
        unfinished = "This training is in progress or was interrupted: it has no result yet (no training.json)."
        return unfinished if run.training is None else ""
    if run.outcome is None:
        return "This run is in progress or was interrupted: it has no architecture yet (no architecture.json)."
    return "" if run.architecture else "architecture.json names no architecture."


def _tile_html(name: str, value: str, note: str = "", kind: str = "") -> str:
    return (
        f'<div class="tile {kind}"><span class="name">{escape(name)}</span><span class="value">{escape(value)}</span>'
        f'<span class="note">{escape(note)}</span></div>'
    )


def _cost_tiles(run: Run) -> list[tuple[str, str, str, str]]:
    budget = run.budget()
    expected = run.outcome is None
    cost = last_expected_cost(run.metrics) if expected else numbers(mapping(run.outcome).get("cost"))
    tiles = []
    for name, value in cost.items():
        limit = budget.get(name)
        note, kind = (_no_limit(run, name), "") if limit is None else _against(value, limit)
        tiles.append((name, compact(value), f"expected, {note}" if expected else note, kind))
    # A budget on something that was not measured must not pass unseen.
    tiles += [(name, "?", f"budget {compact(limit)}", "") for name, limit in budget.items() if name not in cost]
    return tiles


def _no_limit(run: Run, name: str) -> str:
    # Until a search is finished only its settings tell a budget, and they may say it in a word, such as halfway.
    setting = run.config.get(f"max_{name}")
    if run.outcome is None and isinstance(setting, str) and setting != "none" and not run.budget():
        return f"budget {shorten(setting, 40)}"
    return "no budget"


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


def last_expected_cost(metrics: list[dict[str, Any]]) -> dict[str, float]:
    """Each cost that the search followed, as it stood last."""
    followed = {
        name: series(metrics, "architecture", "expected_cost", name) for name in names(metrics, "architecture", "expected_cost")
    }
    return {name: cost.values[-1] for name, cost in followed.items() if len(cost)}


def _loss_tiles(run: Run) -> list[tuple[str, str, str]]:
    losses = {moment: number(mapping(mapping(run.training).get(moment)).get("loss")) for moment in ("after", "before")}
    if losses["after"] is not None:
        before = "" if losses["before"] is None else f", {losses['before']:.4g} before"
        return [("loss", f"{losses['after']:.4g}", f"after training{before}")]
    for entry in map(mapping, sequence(mapping(run.outcome).get("comparison"))):
        loss = number(mapping(entry.get("metrics")).get("loss"))
        if entry.get("name") == "found" and loss is not None:
            return [("loss", f"{loss:.4g}", "of the found net")]
    for split in ("validation", "architecture", "weight"):
        logged = series(run.metrics, split, "loss")
        if len(logged):
            of = "" if run.is_training else "supernet, "
            return [("loss", f"{logged.values[-1]:.4g}", f"{of}{split}, step {exact(logged.steps[-1])}")]
    return []


def _speed_tiles(metrics: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    keys = {key for record in metrics for key in record if key.endswith(_PER_SECOND)}
    for key in sorted(keys):
        speeds = series(metrics, "weight", key)
        if len(speeds):
            name = key.removesuffix(_PER_SECOND)
            return [("speed", compact(quantile(speeds.values, 0.5)), f"{name} a second, median")]
    return []
