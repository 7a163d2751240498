"""The two kinds of step: one for the weights, one for the architecture parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from accelerate import Accelerator
from knotwork_ops import Architecture, Selection
from torch import Tensor

from knotwork_search._budget import Budget
from knotwork_search._gradients import average_gradients, frozen
from knotwork_search._protocols import Alphas, Batch, Strategy, Supernet
from knotwork_search._unrolled import Lookahead, unrolled_gradient


def weight_update(
    supernet: Supernet,
    data: Sequence[Batch],
    selections: Sequence[Selection],
    optimiser: Any,
    clip: float,
    accelerator: Accelerator,
    *,
    distils: bool = False,
) -> Tensor:
    """One step of the weights on the mean loss over some batches and selections.

    Args:
        supernet: to be trained.
        data: the batches.
        selections: what to train.
        optimiser: of the weights.
        clip: largest norm of the gradient.
        accelerator: for precision and processes.
        distils: whether the first selection, an architecture, teaches the others: they get its predictions as targets.

    Returns:
        The first selection's loss, detached, averaged over batches and processes.
    """
    total = torch.zeros((), device=accelerator.device)
    first, *others = selections
    for batch in data:
        with accelerator.autocast():
            loss, targets = (
                supernet.teach(batch, cast(Architecture, first)) if distils else (supernet.loss(batch, first), batch)
            )
        accelerator.backward(loss / (len(data) * len(selections)))
        total += loss.detach() / len(data)
        for selection in others:
            with accelerator.autocast():
                value = supernet.loss(targets, selection)
            accelerator.backward(value / (len(data) * len(selections)))
    parameters = [parameter for _, parameter in supernet.named_parameters()]
    average_gradients(parameters, accelerator)
    accelerator.clip_grad_norm_(parameters, clip)
    optimiser.step()
    optimiser.zero_grad()
    return _over_processes(total, accelerator)


def architecture_update(
    supernet: Supernet,
    data: Sequence[Batch],
    strategy: Strategy,
    alphas: Alphas,
    step: int,
    budget: Budget,
    optimiser: Any,
    accelerator: Accelerator,
    ahead: Lookahead | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """One step of the architecture parameters: held-out loss, and the penalties of the budget and of the strategy.

    Each batch sees a draw of its own, so accumulation also averages over mixtures. Weight gradients are switched off, unless
    the held-out loss is that after the weight step ``ahead``.

    Returns:
        The loss without the penalty and the expected cost by currency, detached.
    """
    total = torch.zeros((), device=accelerator.device)
    if ahead is not None:
        total, gradients = unrolled_gradient(supernet, data, ahead, lambda: strategy.sample(alphas, step), alphas, accelerator)
        for alpha, gradient in zip(alphas.values(), gradients, strict=True):
            alpha.grad = gradient
    with frozen(supernet):
        for batch in data if ahead is None else ():
            with accelerator.autocast():
                value = supernet.loss(batch, strategy.sample(alphas, step)) / len(data)
            accelerator.backward(value)
            total += value.detach()
        cost = supernet.cost(strategy.probabilities(alphas))
        for penalty in (budget.penalty(cost) if budget.limits else None, strategy.penalty(alphas, step)):
            if penalty is not None:
                accelerator.backward(penalty)
    average_gradients(alphas.values(), accelerator)
    optimiser.step()
    optimiser.zero_grad()
    return _over_processes(total, accelerator), {name: value.detach() for name, value in cost.items()}


def _over_processes(loss: Tensor, accelerator: Accelerator) -> Tensor:
    return loss if accelerator.num_processes == 1 else cast(Tensor, accelerator.reduce(loss, reduction="mean"))
