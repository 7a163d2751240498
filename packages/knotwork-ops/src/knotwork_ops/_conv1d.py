"""Hugging Face's Conv1D: a linear map that stores its weight transposed."""

from __future__ import annotations

from torch import Tensor

from knotwork_ops._adapted import Weight
from knotwork_ops._linear import linear
from knotwork_ops._profiles import Width


def conv1d(x: Tensor, weight: Weight, bias: Tensor | None, inputs: Width | None = None, outputs: Width | None = None) -> Tensor:
    """``linear`` for a weight of shape ``(in, out)``, as in GPT-2.

    Args:
        x: ``(..., in)``.
        weight: ``(in, out)`` of the largest option, or an ``AdaptedWeight`` laid out so.
        bias: ``(out,)`` or None.
        inputs: how the input dimension is used.
        outputs: how the output dimension is used.

    Returns:
        ``(..., out)``, or ``(..., width)`` when the output is sliced.
    """
    return linear(x, weight.t(), bias, inputs, outputs)
