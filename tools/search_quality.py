"""Does the search find better nets than chance? Prints the table that the README quotes.

    uv run python tools/search_quality.py --granularity uniform --output-dir runs/quality-uniform

For each search seed it runs the app with its default flags and the default budget (halfway between the smallest and
the largest architecture). The found nets and distinct random ones of 85-100% of that budget are then trained from scratch with
equal steps and compared. Every finished cell is kept as JSON in the output folder, so a killed assessment goes on where it was.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from knotwork_ops import Architecture
from knotwork_search import Budget, costs, random_candidates
from knotwork_spaces import family
from knotwork_tasks import SavedRun, run_command
from knotwork_tasks.compare import Cell, CompareFolder, digest, kendall_tau, mean_and_error, result_of, variance

UNITS = {"search_gpt": "token", "search_vit": "image"}
FAMILIES = {"search_gpt": "gpt2", "search_vit": "vit"}


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
    """Run the command."""
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
    sys.exit(run_command("search_quality", lambda: assess(flags)))


def assess(flags: argparse.Namespace) -> None:
    """Run the cells that are missing, then print the table."""
    settings = {name: getattr(flags, name) for name in ("app", "granularity", "search_flags")}
    folder = CompareFolder(flags.output_dir, settings)

    def run(cells: Iterable[Cell]) -> None:
        folder.run(cells, flags.processes, lambda text: print(text, file=sys.stderr, flush=True))

    searches = [_search_cell(folder.path, seed, flags) for seed in range(flags.search_seeds)]
    run(searches)
    saved = [SavedRun(search["run"]) for search in searches]
    space, found = saved[0].space, [one.found for one in saved]
    supernet = family(space.family).supernet(space)
    drawn = random_candidates(supernet, Budget(saved[0].record["budget"]), flags.random, least_share=0.85, seed=0)
    chosen = [candidate.architecture for candidate in drawn]
    nets = list(dict.fromkeys([*found, *chosen]))
    training = {a: [_training_cell(searches[0], a, seed, flags) for seed in range(flags.train_seeds)] for a in nets}
    inheriting = {a: [_inheriting_cell(search, a) for search in searches] for a in nets}
    # By run, whose data a process reads once for cells that follow each other.
    run([*chain(*training.values()), *chain(*zip(*inheriting.values(), strict=True))])
    trained = {a: _trained(a, costs(supernet, a)["params"], training[a], inheriting[a]) for a in nets}
    _print_table([trained[a] for a in found], [trained[a] for a in chosen], flags)


def _trained(architecture: Architecture, params: float, training: Sequence[Cell], inheriting: Sequence[Cell]) -> Trained:
    told = [result_of(cell) for cell in training]
    inherited = [result_of(cell)["losses"][0] for cell in inheriting]
    top1 = [metrics["top1"] for metrics in told if "top1" in metrics]
    return Trained(architecture, params, [metrics["loss"] for metrics in told], inherited, top1)


def _search_cell(folder: Path, seed: int, flags: argparse.Namespace) -> Cell:
    run = str(folder / f"search-{seed}")
    arguments = ["--output-dir", run, "--seed", str(seed), "--granularity", flags.granularity, *flags.search_flags]
    result = str(folder / "cells" / f"search-{seed}.json")
    return {"kind": "search", "result": result, "run": run, "family": FAMILIES[flags.app], "arguments": arguments}


def _training_cell(search: Cell, architecture: Architecture, seed: int, flags: argparse.Namespace) -> Cell:
    how = {"seed": seed, "steps": flags.steps, "learning_rate": flags.learning_rate}
    # Nets trained otherwise are other cells.
    return _cell("train", search, architecture, *how.values()) | {"architecture": architecture.as_dict(), **how}


def _inheriting_cell(search: Cell, architecture: Architecture) -> Cell:
    return _cell("inherit", search, architecture, Path(search["run"]).name) | {"architectures": [architecture.as_dict()]}


def _cell(kind: str, search: Cell, architecture: Architecture, *more: object) -> Cell:
    name = "-".join(map(str, (kind, digest(architecture.as_dict()), *more)))
    return {"kind": kind, "run": search["run"], "result": str(Path(search["result"]).with_name(f"{name}.json"))}


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
