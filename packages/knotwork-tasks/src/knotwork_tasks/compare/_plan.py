"""Equal compute: how many steps each strategy may take."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from accelerate import Accelerator
from knotwork_ops import Architecture
from knotwork_search import (
    Budget,
    RunFolder,
    Search,
    SearchData,
    SearchSettings,
    Supernet,
    expected_flops,
    planned_steps,
    random_candidates,
)
from knotwork_spaces import load_space

from knotwork_tasks._flags import SearchFlags
from knotwork_tasks._search import search_settings
from knotwork_tasks._task import Task, task_kind
from knotwork_tasks.compare._flags import RANDOM, CompareFlags

LEAST_SHARE = SearchSettings().least_share
"""Of the budget, that random architectures use: as much as a search's candidates do."""
MEASURE = "drnas"
"""Whose search says what compute all may spend, when none is given."""


@dataclass(frozen=True)
class Plan:
    """What every search of a comparison is given.

    Attributes:
        family: of the space.
        compute: FLOPs that a search may spend.
        steps: by strategy, the steps that are expected to spend them.
        limits: the budget of the architectures.
        supernet: of the space, untrained.
        ranked: random architectures within the budget, for ranks.
        drawn: one by seed, for the strategy ``random``.
    """

    family: str
    compute: float
    steps: dict[str, int]
    limits: dict[str, float]
    supernet: Supernet
    ranked: list[Architecture]
    drawn: list[Architecture]


def plan(flags: CompareFlags) -> Plan:
    """Count what a step of each strategy costs, on the data and the space that are given.

    Raises:
        ValueError, OSError: flags that no search takes, or compute that does not suffice.
    """
    family = load_space(flags.space).family
    parsed, task = _task(flags, family)
    searches = {name: _search(parsed, task, name) for name in dict.fromkeys([MEASURE, *flags.strategies]) if name != RANDOM}
    compute = sum(expected_flops(searches[MEASURE])) if flags.compute is None else flags.compute
    settings, supernet = searches[MEASURE].settings, task.supernet
    budget = Budget(dict(settings.limits))

    def random(count: int, seed: int) -> list[Architecture]:
        found = random_candidates(supernet, budget, count, least_share=LEAST_SHARE, seed=seed)
        return [candidate.architecture for candidate in found]

    return Plan(
        family,
        compute,
        {name: planned_steps(searches[name], compute) for name in flags.strategies if name != RANDOM},
        dict(settings.limits),
        supernet,
        random(flags.ranked, seed=10_000),
        [random(1, seed=20_000 + seed)[0] for seed in range(flags.seeds)],
    )


def search_arguments(flags: CompareFlags, strategy: str, seed: int, steps: int | None, folder: str) -> list[str]:
    """The command line of one search of a comparison; ``steps`` None for the space's own number."""
    given: dict[str, Any] = {"space": flags.space, "strategy": strategy, "seed": seed, "max_params": flags.max_params}
    if flags.max_flops is not None:
        given["max_flops"] = flags.max_flops
    given |= flags.search
    if steps is not None:
        searching = steps * (1 - SearchSettings().fair_share)
        given |= {"max_steps": steps, "incumbent_every": max(1, round(searching / flags.incumbents))}
    arguments = ["--output-dir", folder]
    for name, value in given.items():
        arguments += [f"--{name.replace('_', '-')}", str(value)] if value is not True else [f"--{name.replace('_', '-')}"]
    return arguments


def _task(flags: CompareFlags, family: str) -> tuple[SearchFlags, Task]:
    kind = task_kind(family)
    # No such folder: what a search's folder would keep is prepared anew.
    nowhere = f"{flags.output_dir}/plan"
    parsed = kind.parse("compare", "", search_arguments(flags, MEASURE, 0, None, nowhere))
    return parsed, kind.prepare(parsed, RunFolder(nowhere), Accelerator(mixed_precision=parsed.mixed_precision))


def _search(parsed: SearchFlags, task: Task, strategy: str) -> Search:
    named = replace(parsed, strategy=strategy)
    data = SearchData(task.weight_data, task.architecture_data)
    return Search(task.supernet, data, search_settings(named, task.supernet))
