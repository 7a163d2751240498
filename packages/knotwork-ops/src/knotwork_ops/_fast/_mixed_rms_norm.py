"""The mixture of prefix RMS norms: every option divides by the root mean square of its own prefix.

Autograd would keep several tensors of the input's size for the segments between consecutive options. Here the backward pass
has the input and one number an option for each row.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from knotwork_ops._fast._prefixes import Edges, prefix_sums, segments_of, suffix_sums
from knotwork_ops._tables import sizes_table


def plain_mixed_rms_norm(x: Tensor, shares: Tensor, weight: Tensor, prefixes: Edges, eps: float) -> Tensor:
    """What ``mixed_rms_norm`` computes."""
    normed = [F.pad(F.rms_norm(x[..., :width], (width,), eps=eps), (0, x.shape[-1] - width)) for width in prefixes]
    return sum(share * y for share, y in zip(shares, normed, strict=True)) * weight


def mixed_rms_norm(x: Tensor, shares: Tensor, weight: Tensor, prefixes: Edges, eps: float) -> Tensor:
    """``sum_i a_i pad(x[..., :e_i] / sqrt(mean_square_i + eps)) * weight``.

    Args:
        x: ``(..., size)``.
        shares: ``(options,)``, the mixture weights a.
        weight: ``(size,)``.
        prefixes: the options' widths e, ascending to ``size``.
        eps: added to the mean of the squares.

    Returns:
        A tensor shaped like ``x``.
    """
    if torch.compiler.is_compiling():  # which fuses the plain formulation, and keeps nothing that it can compute again
        return plain_mixed_rms_norm(x, shares, weight, prefixes, eps)
    y: Any = _MixedRMSNorm.apply(x.reshape(-1, x.shape[-1]), shares, weight, prefixes, eps)
    return y.view(x.shape)


class _MixedRMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, shares: Tensor, weight: Tensor, prefixes: Edges, eps: float) -> Tensor:
        segments, sizes = segments_of(prefixes), sizes_table(prefixes, x.dtype, x.device)
        squared = x.square()
        squares = prefix_sums([squared[:, s].sum(-1) for s in segments]) / sizes
        inverses = squares.add_(eps).rsqrt_()
        # Of each segment: the mixture of its options' norms is ``x * scale``.
        scale = suffix_sums(inverses * shares[:, None])
        y = squared
        for number, segment in enumerate(segments):
            torch.mul(x[:, segment], scale[number, :, None], out=y[:, segment])
        ctx.save_for_backward(x, shares, weight, inverses)
        ctx.prefixes = prefixes
        return y.mul_(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> Any:  # type: ignore[override]
        x, shares, weight, inverses = ctx.saved_tensors
        segments, sizes = segments_of(ctx.prefixes), sizes_table(ctx.prefixes, x.dtype, x.device)
        scales = inverses * shares[:, None]
        scale = suffix_sums(scales)
        product = dy * x
        dweight = None
        if ctx.needs_input_grad[2]:
            dweight = torch.cat([product[:, s].t() @ scale[number] for number, s in enumerate(segments)])
        along = prefix_sums([product[:, s] @ weight[s] for s in segments])
        slope = suffix_sums(-inverses.square() * scales * along / sizes)
        dx, g = product, dy * weight
        for number, segment in enumerate(segments):
            torch.mul(x[:, segment], slope[number, :, None], out=dx[:, segment])
            dx[:, segment] += g[:, segment].mul_(scale[number, :, None])
        return dx, (inverses * along).sum(1), dweight, None, None
