"""What mixing costs: steps of the supernet against plain nets and against the paper's padded sums.

    uv run python tools/bench.py                                        # the space in tools/spaces/small.yaml
    uv run python tools/bench.py --space autoformer-tiny --json bench.json
    uv run python tools/bench.py --growth                               # as options, depth and width grow

A step is a forward and a backward pass without an optimiser. Every variant runs in a process of its own, the rounds are
interleaved, and ratios are taken within a round, so that a machine's drift cancels; what is printed is the median over rounds.
Memory is the peak above the resting process, gradients included; on a GPU it is the allocator's.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from knotwork_ops import SearchSpace
from knotwork_spaces import family, load_space

ROOT = Path(__file__).parents[1]
CELL = str(ROOT / "tools/bench_cells.py")
VARIANTS = {
    "a": "plain {upstream}, largest architecture",
    "a'": "the same, compiled",
    "b": "padded sums, weight step with the alphas' gradients, as in the paper's code",
    "c": "ours, weight step",
    "d": "ours, architecture step",
    "e": "ours without mixing: the largest options alone",
    "f": "ours, hard sample of the middle options, sliced",
    "g": "plain {upstream} built at that size",
}
UPSTREAM = {"gpt2": "transformers", "vit": "timm"}
VOCABULARY = 512
"""Of a GPT space whose file leaves it to the tokenizer."""
MARGIN = 0.05
GROWTH = {2: 2.0, 3: 1.0, 5: 0.5, 8: 0.25}
"""By number of options the step between MLP ratios up to 4; widths are in proportion."""

Cell = Mapping[str, Any]
"""A variant in one round: round, space, variant, and time, times and memory, or an error."""
Round = Mapping[str, Cell]
"""The cells of one round that were measured, by variant."""


class Ratio(NamedTuple):
    """The mean of some variants' quantity over another's."""

    name: str
    over: tuple[str, ...]
    under: str
    quantity: str
    at_least: bool = False


RATIOS = (
    Ratio("weight step / (a), time", ("c",), "a", "time"),
    Ratio("(architecture + weight step) / 2 (a), time", ("c", "d"), "a", "time"),
    Ratio("weight step / (e), time", ("c",), "e", "time"),
    Ratio("weight step / (a), peak memory", ("c",), "a", "memory"),
    Ratio("(f) / (g), time", ("f",), "g", "time"),
    Ratio("(b) / (c), time", ("b",), "c", "time", at_least=True),
    Ratio("(b) / (c), peak memory", ("b",), "c", "memory", at_least=True),
)
TARGETS = {
    "small": (1.10, 1.00, 1.15, 0.80, 1.00, 1.6, 4.0),
    "gpt-tinystories": (0.95, 0.80, 1.06, 0.75, 1.00, 2.1, 5.0),
    "autoformer-tiny": (1.20, 1.15, 1.15, 1.10, 1.05, 2.0, 4.0),
}
"""By space, in the order of ``RATIOS``."""


def main() -> None:
    """Run the rounds, print the table, write the JSON."""
    flags = _flags()
    cells, machine = run_rounds(flags.spaces, flags.variants, flags)
    compiled = ", ours compiled" if flags.compile else ""
    where = ", ".join(f"{name} {value}" for name, value in machine.items())
    print(f"\n{flags.title}: batches of {flags.batch_size}, {flags.rounds} rounds{compiled}; {where}\n")
    if flags.growth:
        ratios = growth_ratios(cells, flags.spaces)
        print(growth_table(ratios))
    else:
        ratios = target_ratios(cells, flags.title)
        upstream = UPSTREAM[flags.spaces[flags.title].as_dict()["family"]]
        print(f"{variant_table(cells, flags.variants, upstream)}\n\n{target_table(ratios)}")
    for line in failures(cells):
        print(f"\n{line}")
    if flags.json:
        known = {name: space.as_dict() for name, space in flags.spaces.items()}
        settings = {name: getattr(flags, name) for name in ("rounds", "batch_size", "compile", "growth")}
        result = {"settings": settings, "machine": machine, "spaces": known, "cells": cells, "ratios": ratios}
        flags.json.write_text(json.dumps(result, indent=1) + "\n")


def _flags() -> argparse.Namespace:
    """The command line's flags, with the spaces by name, the variants in order, and a title."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--space", help="small (the default), a preset or a YAML file")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-size", type=int, help="8 for small and --growth, else 4")
    parser.add_argument("--variants", help=f"some of {','.join(VARIANTS)} (all by default)")
    parser.add_argument("--compile", action="store_true", help="compile ours: (c) to (e), as sliced nets stay as they are")
    parser.add_argument("--growth", action="store_true", help="the weight step of GPT-2s with ever more options and sizes")
    parser.add_argument("--json", type=Path, help="file to write cells, machine and ratios to")
    flags = parser.parse_args()
    _check(parser, flags)
    name = flags.space or "small"
    flags.title = "growth" if flags.growth else Path(name).stem
    flags.batch_size = flags.batch_size or (8 if flags.growth or name == "small" else 4)
    given = flags.variants.split(",") if flags.variants else VARIANTS
    flags.variants = ["a", "c"] if flags.growth else [variant for variant in VARIANTS if variant in given]
    try:
        flags.spaces = growth_spaces() if flags.growth else {flags.title: named_space(name)}
    except ValueError as error:
        parser.error(str(error))
    return flags


def _check(parser: argparse.ArgumentParser, flags: argparse.Namespace) -> None:
    if flags.growth and (flags.space or flags.variants):
        parser.error("--growth has spaces and variants of its own: leave out --space and --variants")
    unknown = [variant for variant in (flags.variants or "a").split(",") if variant not in VARIANTS]
    if unknown:
        parser.error(f"unknown variant {unknown[0]!r}: known are {list(VARIANTS)}")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", flags.device):
        parser.error(f"device {flags.device!r} is neither cpu nor cuda")
    if flags.device != "cpu" and not torch.cuda.is_available():
        parser.error(f"device {flags.device!r} is not there: torch sees no CUDA")
    for name in ("rounds", "batch_size"):
        value = getattr(flags, name)
        if value is not None and value < 1:
            parser.error(f"--{name.replace('_', '-')} is {value}: it must be at least 1")


def named_space(name: str) -> SearchSpace:
    """The benchmark's own space, a preset or a YAML file, complete without data."""
    own = ROOT / "tools/spaces" / f"{name}.yaml"
    definition = load_space(str(own) if own.exists() else name)
    open_vocabulary = definition.family == "gpt2" and "vocab_size" not in definition.settings
    return definition.build(**({"vocab_size": VOCABULARY} if open_vocabulary else {}))


def growth_spaces() -> dict[str, SearchSpace]:
    """GPT-2s of one largest architecture with ever more options, then deeper and wider ones."""
    build = family("gpt2").space.build

    def space(options: int, width: int = 384, depth: int = 6) -> SearchSpace:
        ratios = [4 - GROWTH[options] * below for below in reversed(range(options))]
        return build(
            embed_dim=[round(width * ratio / 4) for ratio in ratios],
            depth=[depth],
            num_heads=[6],
            mlp_ratio=ratios,
            per_layer=["mlp_ratio"],
            vocab_size=4096,
            block_size=128,
        )

    spaces = {f"{options} options": space(options) for options in GROWTH}
    return {**spaces, "3 options, depth 12": space(3, depth=12), "3 options, width 768": space(3, width=768)}


def run_rounds(
    spaces: Mapping[str, SearchSpace], variants: Sequence[str], flags: argparse.Namespace
) -> tuple[list[Cell], dict[str, Any]]:
    """All cells, round after round, and the machine as the last of them saw it."""
    cells: list[Cell] = []
    machine: dict[str, Any] = {}
    for number in range(flags.rounds):
        for name, space in spaces.items():
            for variant in variants:
                job = {"space": space.as_dict(), "variant": variant, "device": flags.device}
                result = run_cell({**job, "batch_size": flags.batch_size, "compile": flags.compile})
                machine = result.pop("machine", machine)
                cells.append({"round": number, "space": name, "variant": variant, **result})
                shown = result.get("error") or f"{_milliseconds([result['time']])} ms, {_mebibytes([result['memory']])} MiB"
                print(f"round {number + 1} of {flags.rounds}, {name}, ({variant}): {shown}", file=sys.stderr, flush=True)
    return cells, machine


def run_cell(job: Mapping[str, Any]) -> dict[str, Any]:
    """What a variant's process prints, or an error that says how it ended."""
    done = subprocess.run([sys.executable, CELL, json.dumps(job)], capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    if done.returncode == 0 and lines:
        result = json.loads(lines[-1])
    else:
        said = done.stderr.strip().splitlines()[-1:] or ["nothing on stderr"]
        result = {"error": f"exit status {done.returncode}: {said[0]}"}
    if "error" in result:
        # Results are shared, and a path says whose machine it was.
        result["error"] = re.sub(r"(?<![\w.])/(?:[^\s/:'\"]+/)+", "", result["error"])
    return result


def by_round(cells: Iterable[Cell], space: str | None = None) -> list[Round]:
    """The measured cells of each round, of one space where there are several."""
    rounds: dict[int, dict[str, Cell]] = {}
    for cell in cells:
        if "error" not in cell and space in (None, cell["space"]):
            rounds.setdefault(cell["round"], {})[cell["variant"]] = cell
    return list(rounds.values())


def values_of(ratio: Ratio, rounds: Iterable[Round]) -> list[float]:
    """The ratio in each round in which all that it needs was measured."""
    found = []
    for cells in rounds:
        over = [cells[variant][ratio.quantity] if variant in cells else None for variant in ratio.over]
        under = cells[ratio.under][ratio.quantity] if ratio.under in cells else None
        measured = [value for value in over if value is not None]
        if under and len(measured) == len(over):
            found.append(statistics.mean(measured) / under)
    return found


def summary(values: Sequence[float]) -> dict[str, float] | None:
    """Median and spread; None when nothing was measured."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)} if values else None


def target_ratios(cells: Iterable[Cell], space: str) -> dict[str, Any]:
    """Every ratio by name: its summary, its target if the space has one, and whether it meets that within the margin."""
    rounds, targets = by_round(cells), TARGETS.get(space, (None,) * len(RATIOS))
    result = {}
    for ratio, target in zip(RATIOS, targets, strict=True):
        measured = summary(values_of(ratio, rounds))
        met = None if measured is None or target is None else meets(measured["median"], target, at_least=ratio.at_least)
        result[ratio.name] = {"measured": measured, "target": target, "at_least": ratio.at_least, "met": met}
    return result


def meets(value: float, target: float, *, at_least: bool) -> bool:
    """Whether a ratio keeps its bound within the margin."""
    return value >= target * (1 - MARGIN) if at_least else value <= target * (1 + MARGIN)


def growth_ratios(cells: Sequence[Cell], spaces: Iterable[str]) -> dict[str, Any]:
    """The weight step's time and memory over the plain net's by space."""
    return {
        name: {
            quantity: summary(values_of(Ratio(name, ("c",), "a", quantity), by_round(cells, name)))
            for quantity in ("time", "memory")
        }
        for name in spaces
    }


def variant_table(cells: Sequence[Cell], variants: Iterable[str], upstream: str) -> str:
    """The variants' times and memory, and their ratios to (a)."""
    rounds = by_round(cells)
    lines = ["| variant | time, ms | time / (a) | memory, MiB | memory / (a) |", "| --- | --- | --- | --- | --- |"]
    for variant in variants:
        own = [measured[variant] for measured in rounds if variant in measured]
        name = f"({variant}) {VARIANTS[variant].format(upstream=upstream)}"
        time, memory = (summary(values_of(Ratio(name, (variant,), "a", quantity), rounds)) for quantity in ("time", "memory"))
        took, used = _milliseconds([cell["time"] for cell in own]), _mebibytes([cell["memory"] for cell in own])
        lines.append(f"| {name} | {took} | {_spread(time)} | {used} | {_median(memory)} |")
    return "\n".join(lines)


def target_table(ratios: Mapping[str, Mapping[str, Any]]) -> str:
    """The ratios beside their targets."""
    lines = ["| ratio | measured | target | met (5% margin) |", "| --- | --- | --- | --- |"]
    for name, ratio in ratios.items():
        bound = "-" if ratio["target"] is None else f"{'>=' if ratio['at_least'] else '<='} {ratio['target']:.2f}"
        met = {None: "-", True: "yes", False: "no"}[ratio["met"]]
        lines.append(f"| {name} | {_spread(ratio['measured'])} | {bound} | {met} |")
    return "\n".join(lines)


def growth_table(ratios: Mapping[str, Mapping[str, Any]]) -> str:
    """The weight step against the plain net, space by space."""
    lines = ["| embed_dim and mlp_ratio | time / (a) | memory / (a) |", "| --- | --- | --- |"]
    lines += [f"| {name} | {_spread(row['time'])} | {_median(row['memory'])} |" for name, row in ratios.items()]
    return "\n".join(lines)


def failures(cells: Iterable[Cell]) -> list[str]:
    """A line for every cell that failed."""
    return [f"({c['variant']}) failed in round {c['round'] + 1}, {c['space']}: {c['error']}" for c in cells if "error" in c]


def _milliseconds(seconds: Sequence[float]) -> str:
    return f"{1000 * statistics.median(seconds):,.1f}" if seconds else "failed"


def _mebibytes(sizes: Sequence[int | None]) -> str:
    known = [size for size in sizes if size is not None]
    missing = "not measured" if sizes else "-"
    return f"{statistics.median(known) / 2**20:,.1f}" if known else missing


def _spread(values: Mapping[str, float] | None) -> str:
    return "-" if values is None else f"{values['median']:.2f} ({values['min']:.2f}-{values['max']:.2f})"


def _median(values: Mapping[str, float] | None) -> str:
    return "-" if values is None else f"{values['median']:.2f}"


if __name__ == "__main__":
    main()
