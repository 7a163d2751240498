"""The two kinds of step: one for the weights, one for the architecture parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from accelerate import Accelerator
from knotwork_ops import Architecture, Selection
from torch import Tensor
from torch.nn.utils import get_total_norm

from knotwork_search._budget import Budget
from knotwork_search._gradients import average_gradients, frozen
from knotwork_search._non_finite import step_if_finite
from knotwork_search._protocols import Alphas, Batch, Strategy, Supernet
from knotwork_search._sampling import seeded
from knotwork_search._sharding import whole
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
        The first selection's loss, detached, averaged over batches and processes; not a number where the step was skipped,
        because the loss or the gradient was not finite.
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
    norm = accelerator.clip_grad_norm_(parameters, clip)
    return step_where_finite(optimiser, over_processes(total, accelerator), norm, accelerator)


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

    All batches see the same draw, so accumulation is a larger batch. Weight gradients are switched off, unless the held-out
    loss is that after the weight step ``ahead``.

    Returns:
        The loss without the penalty, not a number where the step was skipped as ``weight_update`` does, and the expected cost
        by currency, detached.
    """
    # Drawn anew for each batch, alike, for a graph through the alphas serves one backward pass.
    key = int(torch.randint(2**62, ()))

    def drawn() -> Selection:
        with seeded("draw", key):
            return strategy.sample(alphas, step)

    total = torch.zeros((), device=accelerator.device)
    if ahead is not None:
        total, gradients = unrolled_gradient(supernet, data, ahead, drawn, alphas, accelerator)
        for alpha, gradient in zip(alphas.values(), gradients, strict=True):
            alpha.grad = gradient
    with frozen(supernet):
        for batch in data if ahead is None else ():
            with accelerator.autocast():
                value = supernet.loss(batch, drawn()) / len(data)
            accelerator.backward(value)
            total += value.detach()
        cost = supernet.cost(strategy.probabilities(alphas))
        for penalty in (budget.penalty(cost) if budget.limits else None, strategy.penalty(alphas, step)):
            if penalty is not None:
                accelerator.backward(penalty)
    average_gradients(alphas.values(), accelerator)
    norm = get_total_norm([alpha.grad for alpha in alphas.values() if alpha.grad is not None])
    loss = step_where_finite(optimiser, over_processes(total, accelerator), norm, accelerator)
    return loss, {name: value.detach() for name, value in cost.items()}


def step_where_finite(optimiser: Any, loss: Tensor, norm: Any, accelerator: Accelerator) -> Tensor:
    """Take the optimiser's step and drop the gradients, unless the loss or their norm is not finite.

    Under fp16's loss scale, infinite gradients say that it is too large: that is the scaler's to see to, down to a scale of 1.

    Returns:
        The loss; not a number where the step was skipped.
    """
    finite = whole(torch.as_tensor(norm, device=loss.device)).isfinite()
    if accelerator.scaler is not None:
        finite = finite | (accelerator.scaler.scale(torch.ones_like(loss)) >= 1)
    finite = finite & loss.isfinite()
    step_if_finite(optimiser, finite)
    optimiser.zero_grad()
    return torch.where(finite, loss, torch.nan)


def over_processes(loss: Tensor, accelerator: Accelerator) -> Tensor:
    """The mean of a loss over processes."""
    return loss if accelerator.num_processes == 1 else cast(Tensor, accelerator.reduce(loss, reduction="mean"))
