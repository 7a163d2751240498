"""Cross-entropy of a linear classifier whose logits are never kept whole.

The logits of a language model are its largest tensor: tokens x vocabulary. Here a part of the rows is worked on at a time,
and its gradients are taken while its probabilities are at hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from knotwork_ops._profiles import full_precision, lowered

LOGITS_AT_ONCE = 2**24
"""Entries of the logits that are there at a time, 64 MiB in float32."""


def plain_cross_entropy(x: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """What ``fused_cross_entropy`` computes."""
    return F.cross_entropy(F.linear(x, weight), targets)


def fused_cross_entropy(x: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy in nats of the logits ``x @ weight.T``, 0-dim.

    Args:
        x: ``(rows, in)``.
        weight: ``(classes, in)``.
        targets: ``(rows,)`` of class numbers.
    """
    with full_precision(x):
        loss: Any = _CrossEntropy.apply(lowered(x), weight, targets)
        return loss


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        need_x, need_weight, _ = ctx.needs_input_grad
        low = weight.to(x.dtype)
        dx = torch.empty_like(x) if need_x else None
        dweight = torch.zeros_like(low, memory_format=torch.contiguous_format) if need_weight else None
        loss = torch.zeros((), dtype=torch.promote_types(x.dtype, torch.float32), device=x.device)
        # Divided by the rows now or, in float16, with the loss's scale: it has no digits for so small a gradient.
        now, ctx.later = (1, 1 / len(x)) if x.dtype == torch.float16 else (1 / len(x), 1)
        for piece in _pieces(len(x), len(weight)):
            rows, wanted = x[piece], targets[piece, None]
            logits = (rows @ low.t()).to(loss.dtype)
            largest = logits.amax(1, keepdim=True)
            loss += (largest - logits.gather(1, wanted)).sum()
            exponentials = logits.sub_(largest).exp_()
            total = exponentials.sum(1, keepdim=True)
            loss += total.log().sum()
            gradient = exponentials.scatter_add_(1, wanted, -total).mul_(now / total).to(x.dtype)
            if dx is not None:
                torch.mm(gradient, low, out=dx[piece])
            if dweight is not None:
                dweight.addmm_(gradient.t(), rows)
        ctx.save_for_backward(dx, dweight)
        ctx.weight_dtype = weight.dtype
        return loss / len(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dloss: Tensor) -> Any:  # type: ignore[override]
        dx, dweight = ctx.saved_tensors
        factor = dloss * ctx.later
        # Asking an accelerator for the value would wait for it.
        if factor.device.type != "cpu" or factor.item() != 1:
            dx = None if dx is None else dx * factor.to(dx.dtype)
            dweight = None if dweight is None else dweight * factor.to(dweight.dtype)
        return dx, None if dweight is None else dweight.to(ctx.weight_dtype), None


def _pieces(rows: int, classes: int) -> Iterator[slice]:
    """Even parts of the rows."""
    count = -(-rows * classes // LOGITS_AT_ONCE)
    size = -(-rows // count)
    return (slice(start, start + size) for start in range(0, rows, size))
