"""How many steps a search may take to cost as much as another one: comparisons are at equal compute."""

from __future__ import annotations

from statistics import fmean

from knotwork_search._loop import Search
from knotwork_search._sampling import draw_architecture, seeded, uniform_mixture
from knotwork_search._select import halvings

STEPS, DRAWS = 200, 50
"""Over how many steps and architectures expectations are taken."""


def expected_flops(search: Search) -> tuple[float, float]:
    """FLOPs that a search is expected to take, over all processes: of its steps, and of the choice that follows.

    They are those of the probabilities at the start. What a search then spends also depends on what it finds.
    """
    settings, processes = search.settings, search.accelerator.num_processes
    spread = [number * settings.max_steps // STEPS for number in range(STEPS)]
    step = fmean(_step_flops(search, step) for step in sorted(set(spread)))
    training = settings.max_steps * settings.gradient_accumulation * processes * step
    return training, processes * _choice_flops(search)


def planned_steps(search: Search, flops: float) -> int:
    """The steps that leave a search within some FLOPs, its choice included.

    Raises:
        ValueError: the choice alone would take them all.
    """
    training, choice = expected_flops(search)
    steps = int((flops - choice) / (training / search.settings.max_steps))
    if steps < 1:
        raise ValueError(
            f"{search.settings.strategy} needs {choice:.3g} FLOPs to choose among its candidates alone, but may spend "
            f"{flops:.3g}: allow more, or fewer evaluations"
        )
    return steps


def _step_flops(search: Search, step: int) -> float:
    """Of one batch."""
    passes, supernet, items = search.passes, search.supernet, search.settings.batch_size
    with seeded("expected", search.settings.seed, step):
        total = sum(passes.of(supernet, "weight", arch, items) for arch in search.weight_selections(step))
        if search.strategy.single_stage and step >= search.fair_steps:
            sample = search.strategy.sample(search.alphas, step)
            kinds = ["architecture"]
            if search.strategy.second_order:
                kinds = ["weight", "weight", "architecture", "architecture"]
            total += sum(passes.of(supernet, kind, sample, items) for kind in kinds)
    return total


def _choice_flops(search: Search) -> float:
    """Of the candidates' evaluation and fine-tuning, in one process."""
    settings, space = search.settings, search.supernet.space
    with seeded("expected", settings.seed):
        drawn = [draw_architecture(uniform_mixture(space)) for _ in range(DRAWS)]
    forward, weight = (
        settings.batch_size * fmean(search.passes.of(search.supernet, kind, arch, 1) for arch in drawn)
        for kind in ("forward", "weight")
    )
    evaluated = settings.candidates if search.strategy.single_stage else settings.evaluations
    finetuned = halvings(min(settings.candidates, evaluated), settings.finetune_steps)
    evaluations = evaluated + sum(entrants for entrants, _ in finetuned)
    steps = sum(entrants * steps for entrants, steps in finetuned)
    return settings.gradient_accumulation * (evaluations * settings.evaluation_batches * forward + steps * weight)
