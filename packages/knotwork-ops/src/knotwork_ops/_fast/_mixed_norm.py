"""The mixture of prefix norms: every option normalises with the statistics of its own prefix.

Autograd would keep several tensors of the input's size for the segments between consecutive options. Here the backward pass
has the centred input and two numbers an option for each row.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

Edges = tuple[int, ...]


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
        segments = _segments(prefixes)
        means = _over_sizes(_prefix_sums([x[:, s].sum(-1, keepdim=True) for s in segments]), prefixes)
        squares = _over_sizes(_prefix_sums([x[:, s].square().sum(-1, keepdim=True) for s in segments]), prefixes)
        inverses = torch.rsqrt((squares - means.square()).clamp_min(0) + eps)
        scale, shift = _scale_and_shift(means, inverses, shares)
        y = torch.empty_like(x)
        for number, segment in enumerate(segments):
            torch.mul(x[:, segment], scale[number], out=y[:, segment]).sub_(shift[number])
        ctx.save_for_backward(x, shares, weight, means, inverses)
        ctx.prefixes = prefixes
        return y.mul_(weight).add_(bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> Any:  # type: ignore[override]
        x, shares, weight, means, inverses = ctx.saved_tensors
        segments = _segments(ctx.prefixes)
        scale, shift = _scale_and_shift(means, inverses, shares)
        normed = torch.empty_like(x)
        for number, segment in enumerate(segments):
            torch.mul(x[:, segment], scale[number], out=normed[:, segment]).sub_(shift[number])
        dweight = normed.mul_(dy).sum(0)
        g = dy * weight
        product = torch.mul(g, x, out=normed)
        zeroth = _prefix_sums([g[:, s].sum(-1, keepdim=True) for s in segments])
        centred = _prefix_sums([product[:, s].sum(-1, keepdim=True) for s in segments]) - means * zeroth
        scales = inverses * shares[:, None, None]
        slope = _over_sizes(-inverses.square() * scales * centred, ctx.prefixes)
        offset = -slope * means - _over_sizes(scales * zeroth, ctx.prefixes)
        slope, offset = _suffix_sums(slope), _suffix_sums(offset)
        dx = torch.empty_like(x)
        for number, segment in enumerate(segments):
            torch.mul(x[:, segment], slope[number], out=dx[:, segment]).add_(offset[number])
            dx[:, segment] += g[:, segment].mul_(scale[number])
        return dx, (inverses * centred).sum((1, 2)), dweight, dy.sum(0), None, None


# Statistics have the shape (options, rows, 1): those of one option are contiguous, and broadcast over the units.


def _segments(prefixes: Edges) -> list[slice]:
    """The units that each option adds to the one before it."""
    return [slice(start, end) for start, end in zip((0, *prefixes), prefixes, strict=False)]


def _prefix_sums(segment_values: Sequence[Tensor]) -> Tensor:
    """The segments' values summed over each option's prefix."""
    return torch.stack(list(accumulate(segment_values)))


def _suffix_sums(option_values: Tensor) -> Tensor:
    """What each segment gets: its own option's value and those of all larger ones."""
    return torch.stack(list(accumulate(reversed(option_values.unbind())))[::-1])


def _over_sizes(values: Tensor, prefixes: Edges) -> Tensor:
    return torch.stack([value / size for value, size in zip(values, prefixes, strict=True)])


def _scale_and_shift(means: Tensor, inverses: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
    """Of each segment: the mixture of its options' norms is ``x * scale - shift``."""
    scales = inverses * shares[:, None, None]
    return _suffix_sums(scales), _suffix_sums(scales * means)
