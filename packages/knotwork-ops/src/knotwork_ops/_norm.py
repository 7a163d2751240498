"""Entangled layer norm: the mixture of the outputs of the prefix norms."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from knotwork_ops._profiles import MixedWidth, Width, full_precision, scaled


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, width: Width, eps: float = 1e-5) -> Tensor:
    """``sum_i a_i pad(LN(x[..., :e_i]))``: each option normalises with the statistics of its own prefix.

    The prefix statistics come from one pass over the segments between consecutive options, merged in order (Chan, Golub &
    LeVeque 1979), so the cost does not grow with the number of options.

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
        normed = _mixed_norm(x, width.weights, width.prefixes, eps)
        # In float32 under autocast, as torch's own layer norm does; in its own precision for a pure low-precision model.
        return (normed * weight + bias * width.mean).to(torch.promote_types(weight.dtype, given))


def _mixed_norm(x: Tensor, weights: Tensor, prefixes: tuple[int, ...], eps: float) -> Tensor:
    means, variances = _prefix_moments(x, prefixes)
    scales = torch.rsqrt(variances + eps) * weights
    # Segment s lies in the options s and above, so it is scaled by their sum.
    scale = scales.flip(-1).cumsum(-1).flip(-1)
    shift = (scales * means).flip(-1).cumsum(-1).flip(-1)
    widths = [b - a for a, b in zip((0, *prefixes), prefixes, strict=False)]
    parts = x.split(widths, -1)
    normed = [torch.addcmul(-shift[..., s : s + 1], part, scale[..., s : s + 1]) for s, part in enumerate(parts)]
    return torch.cat(normed, -1)


def _prefix_moments(x: Tensor, prefixes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Mean and variance of every prefix, each ``(..., options)``."""
    widths = [b - a for a, b in zip((0, *prefixes), prefixes, strict=False)]
    segments = [torch.var_mean(part, -1, correction=0) for part in x.split(widths, -1)]
    means, squares = [segments[0][1]], [segments[0][0] * widths[0]]
    for before, added, (variance, mean) in zip(prefixes, widths[1:], segments[1:], strict=False):
        total = before + added
        delta = mean - means[-1]
        means.append(means[-1] + delta * (added / total))
        squares.append(squares[-1] + variance * added + delta.square() * (before * added / total))
    sizes = torch.tensor(prefixes, dtype=x.dtype, device=x.device)
    return torch.stack(means, -1), torch.stack(squares, -1) / sizes
