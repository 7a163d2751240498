"""The loss of an entangled classifier."""

from __future__ import annotations

from torch import Tensor

from knotwork_ops._fast._cross_entropy import fused_cross_entropy
from knotwork_ops._profiles import MixedWidth, Width, scaled


def linear_cross_entropy(x: Tensor, weight: Tensor, targets: Tensor, inputs: Width) -> Tensor:
    """Mean cross-entropy of ``linear(x, weight, None, inputs)``, whose logits are never kept whole.

    Args:
        x: ``(rows, in)``, or ``(rows, width)`` when the input is sliced.
        weight: ``(classes, in)`` at the largest width.
        targets: ``(rows,)`` of class numbers; or ``(rows, width)`` of what the head of a teacher reads, a subnet's of the same
            weight: the cross-entropy is then from the teacher's probabilities, which get no gradient (in-place distillation).
        inputs: how the input dimension is used.

    Returns:
        Nats, 0-dim, in float32 under autocast.
    """
    if isinstance(inputs, MixedWidth):
        return fused_cross_entropy(scaled(x, inputs.mean), weight, targets)
    if not isinstance(inputs.units, int):
        weight = inputs.take(weight, 1)
    return fused_cross_entropy(scaled(x, inputs.scale), weight, targets)
