"""The choice among candidates: inherited losses, then successive halving with short sliced fine-tuning."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from accelerate import Accelerator
from knotwork_ops import Architecture

from knotwork_search._batches import batches
from knotwork_search._budget import Budget, costs
from knotwork_search._discretise import Candidate, shares_to_try
from knotwork_search._evaluate import evaluate
from knotwork_search._optimisers import cosine, set_learning_rate, weight_optimiser
from knotwork_search._protocols import Batch, Supernet
from knotwork_search._sampling import draw_architecture, seeded, uniform_mixture
from knotwork_search._settings import SearchSettings
from knotwork_search._training import weight_update

FINETUNE_RATE = 0.15
"""Share of the weights' learning rate for fine-tuning: the supernet ends near a tenth. At a half, twenty steps made every
candidate worse and wide ones most, which turned the ranking round."""


@dataclass(frozen=True)
class Ranked:
    """A candidate with its losses on the architecture split: inherited, and after fine-tuning when it came so far."""

    candidate: Candidate
    loss: float
    finetuned_loss: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """The candidate as JSON values."""
        return {
            "architecture": self.candidate.architecture.as_dict(),
            "log_probability": self.candidate.log_probability,
            "cost": self.candidate.cost,
            "loss": self.loss,
            "finetuned_loss": self.finetuned_loss,
        }


def choose(
    supernet: Supernet,
    candidates: Sequence[Candidate],
    weight_data: Any,
    held_out: Sequence[Batch],
    settings: SearchSettings,
    accelerator: Accelerator,
    notify: Callable[[str], None] = lambda message: None,
) -> list[Ranked]:
    """Rank candidates, best first: all are evaluated with inherited weights, then the better ones fine-tuned."""
    notify(f"comparing {len(candidates)} candidates with inherited weights")
    scored = by_loss(Ranked(c, evaluate(supernet, held_out, c.architecture, accelerator)["loss"]) for c in candidates)
    return finetuned(supernet, scored, weight_data, held_out, settings, accelerator, notify)


def by_loss(ranked: Iterable[Ranked]) -> list[Ranked]:
    """The best first, by inherited loss."""
    return sorted(ranked, key=lambda entry: _diverged_last(entry.loss))


def finetuned(
    supernet: Supernet,
    scored: list[Ranked],
    weight_data: Any,
    held_out: Sequence[Batch],
    settings: SearchSettings,
    accelerator: Accelerator,
    notify: Callable[[str], None] = lambda message: None,
) -> list[Ranked]:
    """Rank candidates, given by inherited loss, anew by their loss after fine-tuning.

    The better half is fine-tuned, sliced, for a third of ``finetune_steps``, and the best quarter of that again from the
    inherited weights for all of them (successive halving: Jamieson & Talwalkar 2016). Every candidate sees the same batches.
    The supernet's weights are put back after each, so the result inherits from the supernet and the fine-tuning only decides.
    """
    for entrants, steps in halvings(len(scored), settings.finetune_steps):
        notify(f"fine-tuning the best {entrants} for {steps} steps each")
        tuned = []
        for ranked in scored[:entrants]:
            with _restored(supernet):
                _finetune(supernet, ranked.candidate.architecture, weight_data, steps, settings, accelerator)
                loss = evaluate(supernet, held_out, ranked.candidate.architecture, accelerator)["loss"]
            tuned.append(replace(ranked, finetuned_loss=loss))
        tuned.sort(key=lambda ranked: _diverged_last(ranked.finetuned_loss))
        scored = tuned + scored[entrants:]
    return scored


def halvings(candidates: int, steps: int) -> list[tuple[int, int]]:
    """How many of the candidates are fine-tuned in each round, and for how many steps."""
    if steps == 0 or candidates == 1:
        return []
    return [(-(-candidates // 2), -(-steps // 3)), (-(-candidates // 8), steps)]


def _diverged_last(loss: float | None) -> float:
    return loss if loss is not None and math.isfinite(loss) else math.inf


def random_candidates(
    supernet: Supernet, budget: Budget, size: int, *, least_share: float, seed: int, tries: int = 20_000
) -> list[Candidate]:
    """Distinct architectures drawn uniformly among those that use the budget to at least ``least_share``.

    Fewer are returned when the space holds fewer. When none of those drawn uses that share of the budget, the share is lowered
    until one does, as in ``shortlist``.

    Raises:
        ValueError: none of those drawn meets the budget.
    """
    within: list[Candidate] = []
    seen: set[Architecture] = set()
    wanted = 0
    uniform = uniform_mixture(supernet.space)
    with seeded("random candidates", seed):
        for _ in range(tries):
            architecture = draw_architecture(uniform)
            if architecture in seen:
                continue
            seen.add(architecture)
            cost = costs(supernet, architecture)
            if budget.met_by(cost):
                within.append(Candidate(architecture, 0.0, cost))
                wanted += budget.used_by(cost, least_share)
            if wanted == size:
                break
    for share in shares_to_try(least_share):
        found = [candidate for candidate in within if budget.used_by(candidate.cost, share)]
        if found:
            return found[:size]
    raise ValueError(
        f"no architecture drawn meets the budget {dict(budget.limits)}: raise it, or search with a gradient strategy"
    )


def _finetune(
    supernet: Supernet, architecture: Architecture, data: Any, steps: int, settings: SearchSettings, accelerator: Accelerator
) -> None:
    optimiser = accelerator.prepare_optimizer(
        weight_optimiser(supernet.named_parameters(), settings.learning_rate, settings.weight_decay, accelerator.device)
    )
    stream = batches(data, settings.batch_size, accelerator, seed=settings.seed + 1)
    for step in range(steps):
        set_learning_rate(
            optimiser, FINETUNE_RATE * settings.learning_rate * cosine(step, steps, max(1, steps // 10), floor=0.0)
        )
        with seeded("finetune", settings.seed, step):
            taken = [next(stream) for _ in range(settings.gradient_accumulation)]
            weight_update(supernet, taken, [architecture], optimiser, settings.clip, accelerator)
    # The accelerator keeps what it has prepared; a fine-tuning's optimiser is done with.
    accelerator._optimizers.remove(optimiser)


@contextmanager
def _restored(supernet: Supernet) -> Iterator[None]:
    trained = [parameter for _, parameter in supernet.named_parameters() if parameter.requires_grad]
    before = [parameter.detach().clone() for parameter in trained]
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, value in zip(trained, before, strict=True):
                parameter.copy_(value)
