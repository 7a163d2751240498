"""Cross-entropy of a linear classifier whose logits are never kept whole.

The logits of a language model are its largest tensor: tokens x vocabulary. Here a part of the rows is worked on at a time,
and its gradients are taken while its probabilities are at hand.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from knotwork_ops._profiles import full_precision, lowered

LOGITS_AT_ONCE = 2**25
"""Entries of the logits that are there at a time, 128 MiB in float32."""


def plain_cross_entropy(x: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """What ``fused_cross_entropy`` computes."""
    if targets.dim() == 2:
        targets = F.linear(targets.to(x.dtype), weight[:, : targets.shape[1]]).softmax(1).detach()
    return F.cross_entropy(F.linear(x, weight[:, : x.shape[1]]), targets)


def fused_cross_entropy(x: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy in nats of the logits ``x @ weight[:, :in].T``, 0-dim.

    Args:
        x: ``(rows, in)``.
        weight: ``(classes, in)``, or wider: a slice's gradient would be copied into one of the whole.
        targets: ``(rows,)`` of class numbers; or ``(rows, teacher's in)``, what a teacher's classifier of the same weight
            reads, which gets no gradient.
    """
    with full_precision(x):
        loss: Any = _CrossEntropy.apply(lowered(x), weight, targets if targets.dim() == 1 else lowered(targets).detach())
        return loss


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        need_x, need_weight, _ = ctx.needs_input_grad
        low = weight[:, : x.shape[1]].to(x.dtype)
        teacher = weight[:, : targets.shape[1]].to(x.dtype) if targets.dim() == 2 else None
        dx = torch.zeros_like(x) if need_x else None
        dweight = x.new_zeros(weight.shape) if need_weight else None
        loss = torch.zeros((), dtype=torch.promote_types(x.dtype, torch.float32), device=x.device)
        # Divided by the rows now or, in float16, with the loss's scale: it has no digits for so small a gradient.
        now, ctx.later = (1, 1 / len(x)) if x.dtype == torch.float16 else (1 / len(x), 1)
        size = _rows_at_once(len(x), len(weight))
        buffer = x.new_empty(size, len(weight))
        for start in range(0, len(x), size):
            piece = slice(start, start + size)
            rows = x[piece]
            logits = torch.mm(rows, low.t(), out=buffer[: len(rows)]).to(loss.dtype)
            wanted = _Labels(targets[piece, None]) if teacher is None else _Taught(targets[piece], teacher, loss.dtype)
            loss += logits.amax(1).sum() - wanted.expected(logits)
            probabilities = torch.softmax(logits, 1, out=logits)
            # The largest logit's probability is one over the sum of the exponentials.
            loss -= probabilities.amax(1).log().sum()
            gradient = wanted.subtracted_from(probabilities).to(x.dtype)
            if dx is not None:
                dx[piece].addmm_(gradient, low, alpha=now)
            if dweight is not None:
                dweight[:, : x.shape[1]].addmm_(gradient.t(), rows, alpha=now)
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


class _Labels:
    """Targets that are class numbers, ``(rows, 1)``."""

    def __init__(self, classes: Tensor) -> None:
        self.classes = classes

    def expected(self, logits: Tensor) -> Tensor:
        """The sum over the rows of the target's logit."""
        return logits.gather(1, self.classes).sum()

    def subtracted_from(self, probabilities: Tensor) -> Tensor:
        """In place."""
        return probabilities.scatter_add_(1, self.classes, probabilities.new_full(self.classes.shape, -1))


class _Taught:
    """Targets that are a teacher's probabilities, from what its classifier reads: ``(rows, teacher's in)``."""

    def __init__(self, rows: Tensor, weight: Tensor, dtype: torch.dtype) -> None:
        logits = (rows @ weight.t()).to(dtype)
        self.probabilities = torch.softmax(logits, 1, out=logits)

    def expected(self, logits: Tensor) -> Tensor:
        return torch.dot(self.probabilities.flatten(), logits.flatten())

    def subtracted_from(self, probabilities: Tensor) -> Tensor:
        return probabilities.sub_(self.probabilities)


def _rows_at_once(rows: int, classes: int) -> int:
    """Even parts of the rows, of sizes that matrix products like."""
    parts = -(-rows * classes // LOGITS_AT_ONCE)
    return min(rows, -(-rows // (16 * parts)) * 16)
