"""Entangled layer norm: the mixture of the outputs of the prefix norms."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from knotwork_ops._fast._mixed_norm import mixed_norm
from knotwork_ops._profiles import MixedWidth, Width, full_precision, scaled


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, width: Width, eps: float = 1e-5) -> Tensor:
    """``sum_i a_i pad(LN(x[..., :e_i]))``: each option normalises with the statistics of its own prefix.

    One pass over the units serves all options, so the cost does not grow with their number.

    Args:
        x: ``(..., size)``, or ``(..., width)`` when sliced.
        weight: ``(size,)``.
        bias: ``(size,)``.
        width: how the dimension is used; a mixed one needs ``prefixes``.
        eps: added to the variance.

    Returns:
        A tensor shaped like ``x``.

    Raises:
        ValueError: a mixed width whose options are not prefixes.
    """
    if not isinstance(width, MixedWidth):
        weight, bias = width.take(weight, 0), width.take(bias, 0)
        return scaled(F.layer_norm(x, weight.shape, weight, bias, eps), width.scale)
    if width.prefixes is None:
        raise ValueError(f"layer norm over choice {width.choice!r} needs options that are prefixes of the dimension")
    given = x.dtype
    with full_precision(x):
        x = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        y = mixed_norm(x, width.weights, weight, bias * width.mean, width.prefixes, eps)
        # In float32 under autocast, as torch's own layer norm does; in its own precision for a pure low-precision model.
        return y.to(torch.promote_types(weight.dtype, given))
