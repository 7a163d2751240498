"""The second stage of two-stage search, within a search: it counts and records what black-box search evaluates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from knotwork_ops import Architecture

from knotwork_search._black_box import BlackBox, study_name
from knotwork_search._compute import CountedSupernet
from knotwork_search._evaluate import evaluate
from knotwork_search._front import LOSS
from knotwork_search._protocols import Batch
from knotwork_search._select import Ranked

if TYPE_CHECKING:
    from knotwork_search._loop import Search


def second_stage(search: Search, supernet: CountedSupernet, held_out: Sequence[Batch]) -> list[Ranked]:
    """Architectures evaluated with inherited weights, the best first.

    Args:
        search: whose training is over.
        supernet: its own, counted.
        held_out: batches of the architecture split.
    """
    settings, accelerator, best = search.settings, search.accelerator, math.inf
    search.recorder.message(f"evaluating {settings.evaluations} architectures: {search.strategy.searcher}")

    view: Any = supernet  # passes on what it does not count

    def note(architecture: Architecture, loss: float) -> None:
        nonlocal best
        if loss < best and settings.incumbent_every:
            best = loss
            search.record_incumbent(search.step, architecture, loss)

    def loss_of(architecture: Architecture) -> float:
        loss = evaluate(view, held_out, architecture, accelerator)["loss"]
        note(architecture, loss)
        return loss

    def recall(architecture: Architecture, loss: float) -> None:
        with torch.no_grad():
            for batch in held_out[accelerator.process_index :: accelerator.num_processes]:
                supernet.count(batch, architecture)
        note(architecture, loss)

    black_box = BlackBox(
        search.strategy.searcher,
        settings.evaluations,
        # A front is of cheap architectures too.
        0.0 if settings.pareto else settings.least_share,
        settings.seed,
        search.storage,
        study_name(search.supernet.space.as_dict(), asdict(settings)),
        tuple(name for name in settings.pareto if name != LOSS),
        alone=not search.has_workers,
    )
    return black_box.run(search.supernet, search.budget, loss_of, accelerator, recall)
