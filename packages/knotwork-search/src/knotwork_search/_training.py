"""The two kinds of step: one for the weights, one for the architecture parameters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from accelerate import Accelerator
from knotwork_ops import Selection
from torch import Tensor

from knotwork_search._budget import Budget
from knotwork_search._protocols import Alphas, Batch, Strategy, Supernet


def weight_update(
    supernet: Supernet,
    data: Sequence[Batch],
    arch: Selection,
    optimiser: Any,
    clip: float,
    accelerator: Accelerator,
) -> Tensor:
    """One step of the weights on the mean loss over some batches. Returns that loss, detached, averaged over processes."""
    total = torch.zeros((), device=accelerator.device)
    for batch in data:
        with accelerator.autocast():
            value = supernet.loss(batch, arch) / len(data)
        accelerator.backward(value)
        total += value.detach()
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
) -> tuple[Tensor, dict[str, Tensor]]:
    """One step of the architecture parameters: held-out loss plus the budget's penalty, weight gradients switched off.

    Each batch sees a draw of its own, so accumulation also averages over mixtures.

    Returns:
        The loss without the penalty and the expected cost by currency, detached.
    """
    total = torch.zeros((), device=accelerator.device)
    with frozen(supernet):
        for batch in data:
            with accelerator.autocast():
                value = supernet.loss(batch, strategy.sample(alphas, step)) / len(data)
            accelerator.backward(value)
            total += value.detach()
        cost = supernet.cost(strategy.probabilities(alphas))
        if budget.limits:
            accelerator.backward(budget.penalty(cost))
    average_gradients(alphas.values(), accelerator)
    optimiser.step()
    optimiser.zero_grad()
    return _over_processes(total, accelerator), {name: value.detach() for name, value in cost.items()}


def _over_processes(loss: Tensor, accelerator: Accelerator) -> Tensor:
    return loss if accelerator.num_processes == 1 else cast(Tensor, accelerator.reduce(loss, reduction="mean"))


@contextmanager
def frozen(supernet: Supernet) -> Iterator[None]:
    """Switch off the gradients of every weight for the length of the block, so that none is computed."""
    parameters = [parameter for _, parameter in supernet.named_parameters() if parameter.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def average_gradients(parameters: Iterable[Tensor], accelerator: Accelerator) -> None:
    """Average gradients over processes, in one message.

    Used in place of DistributedDataParallel, which would have to look for the weights that a sliced net does not touch.
    All processes run the same architecture, so they agree on which gradients there are.
    """
    if accelerator.num_processes == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return
    flat = accelerator.reduce(torch.cat([gradient.flatten() for gradient in gradients]), reduction="mean")
    for gradient, averaged in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):  # type: ignore[union-attr]
        gradient.copy_(averaged.view_as(gradient))
