"""A front from a gradient search: its architecture parameters go on under one smaller budget after another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from knotwork_search._batches import batches
from knotwork_search._budget import Budget, costs
from knotwork_search._discretise import shortlist
from knotwork_search._evaluate import evaluate
from knotwork_search._optimisers import architecture_optimiser
from knotwork_search._protocols import Supernet
from knotwork_search._sampling import seeded
from knotwork_search._select import Ranked
from knotwork_search._training import architecture_update

if TYPE_CHECKING:
    from knotwork_search._loop import Search

BUDGETS = 8
CANDIDATES = 4
"""Of each budget, that are evaluated."""
LEAST_STEPS = 10


def budgets(supernet: Supernet, limits: Mapping[str, float], currencies: Sequence[str]) -> list[dict[str, float]]:
    """Limits that fall in even steps from the search's own, or the largest architecture's cost, towards the smallest's."""
    smallest, largest = (costs(supernet, edge) for edge in (supernet.space.smallest, supernet.space.largest))
    upper = {name: min(largest[name], limits.get(name, largest[name])) for name in currencies}
    shares = [(BUDGETS - number) / BUDGETS for number in range(BUDGETS)]
    return [{n: smallest[n] + share * (upper[n] - smallest[n]) for n in currencies} for share in shares]


def sweep(search: Search, supernet: Supernet, held_out: Sequence[Mapping[str, torch.Tensor]]) -> list[Ranked]:
    """Architectures evaluated with inherited weights, of every budget the likeliest few.

    The weights stay as they are, and so do the search's own architecture parameters: copies of them go on. A budget gets a
    quarter of the search's architecture steps.

    Args:
        search: trained.
        supernet: the search's, as it counts FLOPs.
        held_out: what architectures are compared on.
    """
    settings, accelerator = search.settings, search.accelerator
    currencies = [name for name in settings.pareto if name != "loss"]
    alphas = {name: alpha.detach().clone().requires_grad_() for name, alpha in search.alphas.items()}
    optimiser = accelerator.prepare_optimizer(architecture_optimiser(alphas.values(), search.architecture_rate()))
    stream = batches(search.data.architecture, settings.batch_size, accelerator, seed=settings.seed + 2)
    steps = max(LEAST_STEPS, (settings.max_steps - search.fair_steps) // 4)
    multipliers = {name: value for name, value in search.budget.multipliers.items() if name in currencies}
    found: dict[object, Ranked] = {}
    for number, limits in enumerate(budgets(supernet, settings.limits, currencies)):
        budget = Budget(limits, multipliers=multipliers)
        for step in range(steps):
            with seeded("sweep", settings.seed, number, step):
                taken = [next(stream) for _ in range(settings.gradient_accumulation)]
                _, cost = architecture_update(
                    supernet, taken, search.strategy, alphas, settings.max_steps - 1, budget, optimiser, accelerator
                )
            budget.ascend(cost)
        multipliers = budget.multipliers
        with torch.no_grad():
            probabilities = search.strategy.probabilities(alphas)
        # What a search's other limits forbid is no point of its front.
        within = Budget({**settings.limits, **limits})
        for candidate in shortlist(supernet, probabilities, within, CANDIDATES, least_share=settings.least_share):
            if candidate.architecture not in found:
                loss = evaluate(supernet, held_out, candidate.architecture, accelerator)["loss"]
                found[candidate.architecture] = Ranked(candidate, loss)
    accelerator._optimizers.remove(optimiser)
    return list(found.values())
