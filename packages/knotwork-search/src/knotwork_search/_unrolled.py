"""The architecture gradient of DARTS' second order, which looks one weight step ahead (Liu, Simonyan, Yang, ICLR 2019)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from knotwork_ops import Selection
from torch import Tensor
from torch.nn.utils import get_total_norm

from knotwork_search._gradients import average, frozen
from knotwork_search._protocols import Alphas, Batch, Supernet

DISTANCE = 0.01
"""How far from the weights the two points of the finite difference lie (their footnote 2)."""


@dataclass(frozen=True)
class Lookahead:
    """The weight step that is looked ahead to.

    Attributes:
        data: the batches that it trains on.
        rate: its learning rate xi, of plain gradient descent.
    """

    data: Sequence[Batch]
    rate: float


def unrolled_gradient(
    supernet: Supernet,
    data: Sequence[Batch],
    ahead: Lookahead,
    arch: Callable[[], Selection],
    alphas: Alphas,
    accelerator: Accelerator,
) -> tuple[Tensor, list[Tensor]]:
    """The gradient to the alphas of the held-out loss after one weight step, their eqs. 6 to 8: four passes in place of one.

    With ``w' = w - xi grad_w L_train(w, alpha)`` and ``v = grad_w' L_val(w', alpha)`` it is ``grad_alpha L_val(w', alpha)
    - xi (grad_alpha L_train(w + eps v, alpha) - grad_alpha L_train(w - eps v, alpha)) / (2 eps)``, where eps is ``DISTANCE``
    over the norm of v.

    Args:
        supernet: whose weights are moved, and put back as they were.
        data: the held-out batches.
        ahead: the weight step.
        arch: gives the mixture, the same one at every call.
        alphas: the architecture parameters.
        accelerator: precision and processes.

    Returns:
        The held-out loss after the weight step, detached, and its gradient to each of the alphas.
    """
    weights = [weight for _, weight in supernet.named_parameters() if weight.requires_grad]
    parameters, kept = list(alphas.values()), [weight.detach().clone() for weight in weights]

    def loss(batches: Sequence[Batch], leaves: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        return _loss_and_gradients(supernet, batches, arch, leaves, accelerator)

    try:
        _, slope = loss(ahead.data, weights)
        _place(weights, kept, slope, -ahead.rate)
        held_out, gradients = loss(data, [*weights, *parameters])
        direction, result = gradients[: len(weights)], gradients[len(weights) :]
        distance = DISTANCE / get_total_norm(direction).clamp_min(1e-12)
        with frozen(supernet):
            for sign in (1, -1):
                _place(weights, kept, direction, sign * distance)
                _, moved = loss(ahead.data, parameters)
                result = [r - sign * ahead.rate / (2 * distance) * m for r, m in zip(result, moved, strict=True)]
    finally:
        _place(weights, kept)
    return held_out, result


def _loss_and_gradients(
    supernet: Supernet, data: Sequence[Batch], arch: Callable[[], Selection], leaves: Sequence[Tensor], accelerator: Accelerator
) -> tuple[Tensor, list[Tensor]]:
    """The mean loss, detached, and its gradients, averaged over processes."""
    total, sums = torch.zeros((), device=accelerator.device), [torch.zeros_like(leaf) for leaf in leaves]
    for batch in data:
        with accelerator.autocast():
            value = supernet.loss(batch, arch()) / len(data)
        for summed, gradient in zip(sums, torch.autograd.grad(value, leaves, allow_unused=True), strict=True):
            if gradient is not None:
                summed += gradient
        total = total + value.detach()
    average(sums, accelerator)
    return total, sums


@torch.no_grad()
def _place(
    weights: Sequence[Tensor], kept: Sequence[Tensor], direction: Sequence[Tensor] = (), distance: Tensor | float = 0.0
) -> None:
    """Put the weights where they were kept, or some distance away along a direction."""
    for number, (weight, value) in enumerate(zip(weights, kept, strict=True)):
        weight.copy_(value + distance * direction[number] if direction else value)
