"""Entangled layer and RMS norms: the mixture of the outputs of the prefix norms."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from knotwork_ops._fast._mixed_norm import mixed_norm
from knotwork_ops._fast._mixed_rms_norm import mixed_rms_norm
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
    prefixes = _prefixes("layer norm", width)
    given = x.dtype
    with full_precision(x):
        y = mixed_norm(_raised(x), width.weights, weight, bias * width.mean, prefixes, eps)
        # In float32 under autocast, as torch's own layer norm does; in its own precision for a pure low-precision model.
        return y.to(torch.promote_types(weight.dtype, given))


def rms_norm(x: Tensor, weight: Tensor, width: Width | None = None, eps: float = 1e-6) -> Tensor:
    """``sum_i a_i pad(RMS(x[..., :e_i]))``: each option divides by the root mean square of its own prefix.

    Zhang and Sennrich, "Root Mean Square Layer Normalization" (2019), eq. 4, as in Llama. One pass over the units serves all
    options.

    Args:
        x: ``(..., size)``, or ``(..., width)`` when sliced.
        weight: ``(size,)``.
        width: how the dimension is used; a mixed one needs ``prefixes``. None for all of it whatever the architecture.
        eps: added to the mean of the squares.

    Returns:
        A tensor shaped like ``x``.

    Raises:
        ValueError: a mixed width whose options are not prefixes.
    """
    given = x.dtype
    with full_precision(x):
        x = _raised(x)
        if isinstance(width, MixedWidth):
            y = mixed_rms_norm(x, width.weights, weight.to(x.dtype), _prefixes("RMS norm", width), eps)
        else:
            own = weight if width is None else width.take(weight, 0)
            y = scaled(F.rms_norm(x, own.shape, own.to(x.dtype), eps), None if width is None else width.scale)
        # As above: in float32 under autocast, in its own precision for a pure low-precision model.
        return y.to(torch.promote_types(weight.dtype, given))


def _prefixes(norm: str, width: MixedWidth) -> tuple[int, ...]:
    if width.prefixes is None:
        raise ValueError(f"{norm} over choice {width.choice!r} needs options that are prefixes of the dimension")
    return width.prefixes


def _raised(x: Tensor) -> Tensor:
    """In float32 at least, for statistics."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
