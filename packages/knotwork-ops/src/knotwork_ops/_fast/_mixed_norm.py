"""The mixture of prefix norms: every option normalises with the statistics of its own prefix.

Autograd would keep several tensors of the input's size for the segments between consecutive options. Here the backward pass
has the centred input and two numbers an option for each row.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from knotwork_ops._fast._prefixes import Edges, prefix_sums, segments_of, suffix_sums
from knotwork_ops._tables import sizes_table


def plain_mixed_norm(x: Tensor, shares: Tensor, weight: Tensor, bias: Tensor, prefixes: Edges, eps: float) -> Tensor:
    """What ``mixed_norm`` computes."""
    normed = [F.pad(F.layer_norm(x[..., :width], (width,), eps=eps), (0, x.shape[-1] - width)) for width in prefixes]
    return sum(share * y for share, y in zip(shares, normed, strict=True)) * weight + bias


def mixed_norm(x: Tensor, shares: Tensor, weight: Tensor, bias: Tensor, prefixes: Edges, eps: float) -> Tensor:
    """``sum_i a_i pad((x[..., :e_i] - mean_i) / sqrt(variance_i + eps)) * weight + bias``.

    Args:
        x: ``(..., size)``.
        shares: ``(options,)``, the mixture weights a.
        weight: ``(size,)``.
        bias: ``(size,)``; not mixed.
        prefixes: the options' widths e, ascending to ``size``.
        eps: added to the variance.

    Returns:
        A tensor shaped like ``x``.
    """
    if torch.compiler.is_compiling():  # which fuses the plain formulation, and keeps nothing that it can compute again
        return plain_mixed_norm(x, shares, weight, bias, prefixes, eps)
    y: Any = _MixedNorm.apply(x.reshape(-1, x.shape[-1]), shares, weight, bias, prefixes, eps)
    return y.view(x.shape)


class _MixedNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, shares: Tensor, weight: Tensor, bias: Tensor, prefixes: Edges, eps: float) -> Tensor:
        # Norms do not see a shift, and shifted by the smallest prefix's mean no square of a mean below can exceed its variance
        # by more than the ratio of the widths, whatever stands in the units: one pass then keeps its digits.
        x = x - x[:, : prefixes[0]].mean(-1, keepdim=True)
        segments, sizes = segments_of(prefixes), sizes_table(prefixes, x.dtype, x.device)
        means = prefix_sums([x[:, s].sum(-1) for s in segments]) / sizes
        squared = x.square()
        squares = prefix_sums([squared[:, s].sum(-1) for s in segments]) / sizes
        inverses = (squares - means.square()).clamp_min_(0).add_(eps).rsqrt_()
        scale, shift = _scale_and_shift(means, inverses, shares)
        y = squared
        for number, segment in enumerate(segments):
            torch.mul(x[:, segment], scale[number, :, None], out=y[:, segment]).sub_(shift[number, :, None])
        ctx.save_for_backward(x, shares, weight, means, inverses)
        ctx.prefixes = prefixes
        return y.mul_(weight).add_(bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> Any:  # type: ignore[override]
        x, shares, weight, means, inverses = ctx.saved_tensors
        segments, sizes = segments_of(ctx.prefixes), sizes_table(ctx.prefixes, x.dtype, x.device)
        scale, shift = _scale_and_shift(means, inverses, shares)
        product = dy * x
        dweight = None
        if ctx.needs_input_grad[2]:
            pairs = enumerate(segments)
            dweight = torch.cat([product[:, s].t() @ scale[number] - dy[:, s].t() @ shift[number] for number, s in pairs])
        zeroth = prefix_sums([dy[:, s] @ weight[s] for s in segments])
        centred = prefix_sums([product[:, s] @ weight[s] for s in segments]) - means * zeroth
        scales = inverses * shares[:, None]
        slope = -inverses.square() * scales * centred / sizes
        offset = suffix_sums(-slope * means - scales * zeroth / sizes)
        slope = suffix_sums(slope)
        dx, g = product, dy * weight
        for number, segment in enumerate(segments):
            torch.mul(x[:, segment], slope[number, :, None], out=dx[:, segment]).add_(offset[number, :, None])
            dx[:, segment] += g[:, segment].mul_(scale[number, :, None])
        return dx, (inverses * centred).sum(1), dweight, dy.sum(0), None, None


def _scale_and_shift(means: Tensor, inverses: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
    """Of each segment: the mixture of its options' norms is ``x * scale - shift``."""
    scales = inverses * shares[:, None]
    return suffix_sums(scales), suffix_sums(scales * means)
