"""The comparison: searches at equal compute, then every found architecture trained from scratch with equal steps."""

from __future__ import annotations

import hashlib
import json
import reprlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from knotwork_ops import Architecture, SearchSpace
from knotwork_search import RunFolder, costs, write_atomically
from knotwork_search.report import read_metrics
from rich.console import Console

from knotwork_tasks._saved import SavedRun
from knotwork_tasks.compare._flags import RANDOM, CompareFlags
from knotwork_tasks.compare._folder import Cell, CompareFolder, result_of
from knotwork_tasks.compare._outcome import Outcome
from knotwork_tasks.compare._plan import Plan, plan, search_arguments
from knotwork_tasks.compare._plots import write_plots
from knotwork_tasks.compare._statistics import kendall_tau
from knotwork_tasks.compare._table import table


def compare(flags: CompareFlags) -> None:
    """Run the cells that are missing, write ``comparison.json`` and ``comparison.svg``, and print the table.

    Raises:
        ValueError, OSError: for what the user can mend.
    """
    searched = [name for name in flags.strategies if name != RANDOM]
    if not searched:
        raise ValueError(f"--strategies names {RANDOM} alone: name a strategy that searches as well")
    console = Console()
    folder = CompareFolder(flags.output_dir, flags.as_config())
    planned = plan(flags)
    known = None if flags.benchmark is None else benchmark(flags.benchmark, planned.family)
    steps = ", ".join(f"{name} {count:,}" for name, count in planned.steps.items())
    console.print(f"{planned.compute:.3g} FLOPs for each search; steps: {steps}", highlight=False, soft_wrap=True)

    def run(cells: list[Cell]) -> None:
        folder.run(cells, flags.processes, lambda text: console.print(text, highlight=False, markup=False, soft_wrap=True))

    searches = {
        (name, seed): _search_cell(folder, flags, planned, name, seed) for seed in range(flags.seeds) for name in searched
    }
    run(list(searches.values()))
    inheriting = {key: _inheriting_cell(folder, cell, planned, key) for key, cell in searches.items()}
    run(list(inheriting.values()))
    found = {key: SavedRun(cell["run"]).found for key, cell in searches.items()}
    if RANDOM in flags.strategies:
        found |= {(RANDOM, seed): architecture for seed, architecture in enumerate(planned.drawn)}
    alone = known or _trained(folder, flags, next(iter(searches.values()))["run"], found, planned, run)
    outcomes = []
    for key, architecture in found.items():
        searching = _searching(searches[key], inheriting[key], alone, planned, known) if key in searches else {}
        regret = None if known is None else alone[architecture, 0] - min(known.values())
        own = alone[architecture, 0 if known else key[1]]
        params = costs(planned.supernet, architecture)["params"]
        outcomes.append(Outcome(*key, architecture.as_dict(), params, own, regret, **searching))
    order = {name: number for number, name in enumerate(flags.strategies)}
    outcomes.sort(key=lambda outcome: (order[outcome.strategy], outcome.seed))
    ranked = [alone[architecture, 0] for architecture in planned.ranked]
    _write(folder, planned, outcomes, ranked)
    print(table(outcomes, planned, flags))


def _write(folder: CompareFolder, planned: Plan, outcomes: list[Outcome], ranked: list[float]) -> None:
    record = {
        "compute": planned.compute,
        "steps": planned.steps,
        "budget": planned.limits,
        "ranked": [{"architecture": a.as_dict(), "alone": loss} for a, loss in zip(planned.ranked, ranked, strict=True)],
        "outcomes": [asdict(outcome) for outcome in outcomes],
    }
    write_atomically(folder.path / "comparison.json", json.dumps(record, indent=1) + "\n")
    write_plots(folder.path / "comparison.svg", outcomes, ranked)


def _search_cell(folder: CompareFolder, flags: CompareFlags, planned: Plan, name: str, seed: int) -> Cell:
    run = str(folder.path / f"{name}-{seed}")
    arguments = search_arguments(flags, name, seed, planned.steps[name], run)
    result = str(folder.path / "cells" / f"search-{name}-{seed}.json")
    return {"kind": "search", "result": result, "run": run, "family": planned.family, "arguments": arguments}


def _inheriting_cell(folder: CompareFolder, cell: Cell, planned: Plan, key: tuple[str, int]) -> Cell:
    result = str(folder.path / "cells" / f"inherit-{key[0]}-{key[1]}.json")
    architectures = [architecture.as_dict() for architecture in planned.ranked]
    return {"kind": "inherit", "result": result, "run": cell["run"], "architectures": architectures}


def _trained(
    folder: CompareFolder, flags: CompareFlags, run: str, found: dict[Any, Architecture], planned: Plan, start: Any
) -> dict[tuple[Architecture, int], float]:
    """Stand-alone losses by architecture and training seed: found ones by their search's seed, ranked ones by seed 0."""
    wanted = dict.fromkeys([*((a, seed) for (_, seed), a in found.items()), *((a, 0) for a in planned.ranked)])
    cells = {}
    for architecture, seed in wanted:
        result = str(folder.path / "cells" / f"train-{digest(architecture.as_dict())}-{seed}.json")
        cell: Cell = {"kind": "train", "result": result, "run": run, "steps": flags.retrain_steps, "seed": seed}
        cells[architecture, seed] = cell | {"architecture": architecture.as_dict()}
    start(list(cells.values()))
    return {key: result_of(cell)["loss"] for key, cell in cells.items()}


def digest(architecture: Mapping[str, Any]) -> str:
    """A short name for an architecture's values."""
    return hashlib.blake2b(json.dumps(dict(architecture), sort_keys=True).encode(), digest_size=6).hexdigest()


def benchmark(path: str, family: str) -> dict[tuple[Architecture, int], float]:
    """Errors in percent by architecture, under the training seed 0. Raises ValueError for another family than the table's."""
    from knotwork_spaces.cells import read_benchmark

    if family != "toy-cell":
        raise ValueError(f"--benchmark holds results of the toy-cell space, not of one of the family {family}")
    return {(architecture, 0): 100 - row.test_accuracy for architecture, row in read_benchmark(path).items()}


def _searching(
    cell: Cell,
    inheriting: Cell,
    alone: dict[tuple[Architecture, int], float],
    planned: Plan,
    known: dict[tuple[Architecture, int], float] | None,
) -> dict[str, Any]:
    """What an outcome tells of its search."""
    saved, ranks = SavedRun(cell["run"]), result_of(inheriting)["losses"]
    return {
        "seconds": result_of(cell).get("seconds"),
        "memory": result_of(cell)["memory"],
        "inherited": saved.metrics.get("loss"),
        "flops": saved.record.get("search_flops"),
        "ranks": ranks,
        "tau": kendall_tau(ranks, [alone[architecture, 0] for architecture in planned.ranked]),
        "curve": curve(RunFolder(cell["run"]).metrics, planned.supernet.space, known),
    }


def curve(metrics: Path, space: SearchSpace, known: dict[tuple[Architecture, int], float] | None) -> list[tuple[float, float]]:
    """FLOPs spent and the loss of the best architecture then, or where errors are known its regret."""
    points = []
    for record in read_metrics(metrics.parent):
        if record.get("split") == "incumbent":
            loss, flops = record.get("loss"), record.get("flops")
            if not isinstance(loss, int | float) or not isinstance(flops, int | float):
                raise ValueError(f"{metrics} has an incumbent without loss and flops: {reprlib.repr(record)}")
            if known is not None:
                loss = known[space.architecture(record.get("architecture", {})), 0] - min(known.values())
            points.append((flops, loss))
    return points
