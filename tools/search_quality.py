"""Does the search find better nets than chance? Prints the table that the README quotes.

    uv run python tools/search_quality.py --granularity uniform --output-dir runs/quality-uniform

For each search seed it runs the app with its default flags and the default budget (halfway between the smallest and
the largest architecture). The found nets and distinct random ones of 85-100% of that budget are then trained from scratch with
equal steps and compared. Every finished cell is kept as JSON in the output folder, so a killed assessment goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from knotwork_ops import Architecture
from knotwork_search import Budget, random_candidates
from knotwork_spaces import family
from knotwork_tasks import SavedRun
from knotwork_tasks.compare import kendall_tau, mean_and_error, variance

ROOT = Path(__file__).parents[1]
CELL = str(ROOT / "tools/search_quality_cells.py")
UNITS = {"search_gpt": "token", "search_vit": "image"}


@dataclass(frozen=True)
class Trained:
    """An architecture with its stand-alone losses by training seed and its inherited losses by search seed.

    Attributes:
        top1: its stand-alone accuracies by training seed; empty where the task has none.
    """

    architecture: Architecture
    params: float
    losses: list[float]
    inherited: list[float]
    top1: list[float]

    @property
    def mean(self) -> float:
        return sum(self.losses) / len(self.losses)


def main() -> None:
    """Run the cells that are missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--output-dir", type=Path, required=True)
    parser.add_argument("--app", choices=list(UNITS), default="search_gpt")
    parser.add_argument("--granularity", choices=["uniform", "per-layer"], default="uniform")
    parser.add_argument("--search-seeds", type=int, default=3)
    parser.add_argument("--train-seeds", type=int, default=2)
    parser.add_argument("--random", type=int, default=8, help="random architectures")
    parser.add_argument("--steps", type=int, default=600, help="steps of training from scratch")
    parser.add_argument("--learning-rate", type=float, help="of training from scratch; the search's own by default")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--search-flags", nargs=argparse.REMAINDER, default=[], help="passed on to the app; last")
    flags = parser.parse_args()
    flags.output_dir.mkdir(parents=True, exist_ok=True)
    runs = [flags.output_dir / f"search-{seed}" for seed in range(flags.search_seeds)]
    _in_parallel([_search_command(run, seed, flags) for seed, run in enumerate(runs)], flags.processes)
    outcomes = [json.loads((run / "architecture.json").read_text()) for run in runs]
    saved = SavedRun(runs[0])
    space = saved.space
    found = [space.architecture(outcome["architecture"]) for outcome in outcomes]
    chosen = _random_architectures(space, outcomes[0]["budget"], flags.random)
    nets = list(dict.fromkeys([*found, *chosen]))
    # Nets trained otherwise are other cells.
    training = flags.output_dir / f"train-{flags.steps}-steps-rate-{flags.learning_rate or 'default'}"
    training.mkdir(exist_ok=True)
    cells = [_training_cell(training, a, seed) for seed in range(flags.train_seeds) for a in nets]
    settings = {"steps": flags.steps, "learning_rate": flags.learning_rate or saved.config["learning_rate"]}
    _run_cells(runs[0], cells, settings, flags.processes)
    for run in runs:
        _run_cells(run, [_inheriting_cell(flags.output_dir, run, a) for a in nets], settings, flags.processes)
    trained = {a: _collect(training, runs, a, flags.train_seeds) for a in nets}
    _print_table([trained[a] for a in found], [trained[a] for a in chosen], flags)


def _random_architectures(space: Any, limits: dict[str, float], count: int) -> list[Architecture]:
    supernet = family(space.family).supernet(space)
    candidates = random_candidates(supernet, Budget(limits), count, least_share=0.85, seed=0)
    return [candidate.architecture for candidate in candidates]


def _search_command(run: Path, seed: int, flags: argparse.Namespace) -> tuple[Path, list[str]]:
    command = [sys.executable, str(ROOT / "apps" / flags.app), "--output-dir", str(run), "--seed", str(seed)]
    command += ["--granularity", flags.granularity, *flags.search_flags]
    if (run / "config.yaml").exists():
        command = [sys.executable, str(ROOT / "apps" / flags.app), "--output-dir", str(run), "--resume"]
    return run / "architecture.json", command


def _training_cell(folder: Path, architecture: Architecture, seed: int) -> dict[str, Any]:
    return {"result": str(_file(folder, architecture, f"seed{seed}")), "architecture": architecture.as_dict(), "seed": seed}


def _inheriting_cell(folder: Path, run: Path, architecture: Architecture) -> dict[str, Any]:
    return {"result": str(_file(folder / f"inherit-{run.name}", architecture)), "architecture": architecture.as_dict()}


def _file(folder: Path, architecture: Architecture, *more: str) -> Path:
    options = [part.split(" ", 1)[1].replace("/", "-") for part in str(architecture).split(", ")]
    return folder / f"{'_'.join([*options, *more])}.json"


def _run_cells(run: Path, cells: list[dict[str, Any]], settings: dict[str, Any], processes: int) -> None:
    """Deal out the cells that are missing: a process reads the data once for all of its own."""
    missing = [cell for cell in cells if not Path(cell["result"]).exists()]
    shares = [missing[number::processes] for number in range(processes)]
    jobs = [json.dumps({"run": str(run), "cells": share, **settings}) for share in shares if share]
    _in_parallel([(Path(json.loads(job)["cells"][-1]["result"]), [sys.executable, CELL, job]) for job in jobs], processes)


def _in_parallel(commands: Iterable[tuple[Path, list[str]]], processes: int) -> None:
    """Run those commands whose result is not there yet, sharing the cores evenly."""
    threads = str(max(1, (os.cpu_count() or 1) // processes))
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    missing = [(result, command) for result, command in commands if not result.exists()]

    def run(item: tuple[Path, list[str]]) -> None:
        result, command = item
        finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if finished.returncode != 0 or not result.exists():
            raise RuntimeError(f"{' '.join(command)} failed:\n{finished.stderr[-2000:]}")
        print(f"done: {result.name}", file=sys.stderr, flush=True)

    with ThreadPoolExecutor(processes) as pool:
        list(pool.map(run, missing))


def _collect(folder: Path, runs: Sequence[Path], architecture: Architecture, seeds: int) -> Trained:
    cells = [_read(_file(folder, architecture, f"seed{seed}")) for seed in range(seeds)]
    inherited = [_read(_file(folder.parent / f"inherit-{run.name}", architecture))["loss"] for run in runs]
    top1 = [cell["top1"] for cell in cells if "top1" in cell]
    return Trained(architecture, cells[0]["params"], [cell["loss"] for cell in cells], inherited, top1)


def _read(cell: Path) -> dict[str, Any]:
    return json.loads(cell.read_text())


def _print_table(found: Sequence[Trained], random: Sequence[Trained], flags: argparse.Namespace) -> None:
    unit = UNITS[flags.app]
    print(f"\n{flags.granularity}, {flags.steps} steps from scratch, {flags.train_seeds} training seeds; nats per {unit}\n")
    accurate = bool(found[0].top1)
    columns = ["net", "parameters", "loss", *(["top-1"] if accurate else []), "architecture"]
    print(f"| {' | '.join(columns)} |\n|{' --- |' * len(columns)}")
    rows = [*((f"found, search seed {i}", t) for i, t in enumerate(found)), *((f"random {i}", t) for i, t in enumerate(random))]
    for name, net in rows:
        accuracy = [f"{sum(net.top1) / len(net.top1):.2%}"] if accurate else []
        print(f"| {' | '.join([name, f'{net.params:,.0f}', f'{net.mean:.4f}', *accuracy, str(net.architecture)])} |")
    nets = {net.architecture: net for net in [*found, *random]}.values()
    spread = math.sqrt(sum(variance(net.losses) for net in nets) / len(nets))
    found_mean, found_error = mean_and_error([net.mean for net in found])
    # Search seeds that agree on a net share its trainings, whose noise their agreement does not remove.
    found_error = max(found_error, spread / math.sqrt(flags.train_seeds * len({net.architecture for net in found})))
    random_mean, random_error = mean_and_error([net.mean for net in random])
    error = math.hypot(found_error, random_error)
    taus = [kendall_tau([net.mean for net in random], [net.inherited[i] for net in random]) for i in range(len(found))]
    best, gain = min(net.mean for net in random), random_mean - found_mean
    print(f"\nfound: mean {found_mean:.4f} +- {found_error:.4f}")
    print(f"random: mean {random_mean:.4f} +- {random_error:.4f}, best {best:.4f}")
    print(f"found beats the random mean by {gain:.4f} = {gain / error:.1f} standard errors")
    between = _deviation([net.mean for net in random])
    print(f"standard deviation between training seeds {spread:.4f}, between random nets {between:.4f}")
    print(f"Kendall tau of inherited and stand-alone losses, random nets: {', '.join(f'{tau:.2f}' for tau in taus)}")


def _deviation(values: Sequence[float]) -> float:
    return math.sqrt(variance(values))


if __name__ == "__main__":
    main()
