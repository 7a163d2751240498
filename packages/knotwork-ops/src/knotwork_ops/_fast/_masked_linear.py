"""The linear map of weight superposition, ``y = (W * M) x``, whose mask M is constant on blocks of W.

Autograd would keep ``W * M`` for the backward pass, and would take the mask's gradient from the weight's even where the weight
has none. Here neither is needed: ``W * M`` is built again, and an architecture step reads the mask's gradient off the very
products that give the input's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from knotwork_ops._profiles import full_precision, lowered, over_units

Edges = tuple[int, ...]
ROWS_AT_ONCE = 256
"""Rows of the input whose products are worked on while they lie in the processor's cache."""


def plain_masked_linear(x: Tensor, weight: Tensor, bias: Tensor | None, mask: Tensor, rows: Edges, columns: Edges) -> Tensor:
    """What ``masked_linear`` computes."""
    return F.linear(x, weight * over_units(over_units(mask, rows, 0), columns, 1), bias)


def masked_linear(x: Tensor, weight: Tensor, bias: Tensor | None, mask: Tensor, rows: Edges, columns: Edges) -> Tensor:
    """``F.linear`` with a weight that is scaled block by block. TangleNAS, section 3.

    Args:
        x: ``(..., in)``.
        weight: ``(out, in)``.
        bias: ``(out,)`` or None; not masked.
        mask: ``(row blocks, column blocks)``, the factor of each block of the weight.
        rows: where the blocks of rows end, ascending to ``out``.
        columns: where the blocks of columns end, ascending to ``in``.

    Returns:
        ``(..., out)``.
    """
    if torch.compiler.is_compiling() and weight.requires_grad:
        # The compiler fuses the plain formulation itself. It does not know how to do without a frozen weight's gradient.
        return plain_masked_linear(x, weight, bias, mask, rows, columns)
    flat = lowered(x).reshape(-1, x.shape[-1])
    with full_precision(x):
        y: Any = _MaskedLinear.apply(flat, weight, None if bias is None else bias.to(flat.dtype), mask, rows, columns)
    return y.view(*x.shape[:-1], weight.shape[0])


class _MaskedLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, mask: Tensor, rows: Edges, columns: Edges) -> Tensor:
        ctx.save_for_backward(x, weight, mask)
        ctx.rows, ctx.columns = rows, columns
        return F.linear(x, _masked(weight, mask, rows, columns).to(x.dtype), bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> Any:  # type: ignore[override]
        x, weight, mask = ctx.saved_tensors
        rows, columns = ctx.rows, ctx.columns
        need_x, need_weight, need_bias, need_mask, *_ = ctx.needs_input_grad
        dx = dweight = dmask = None
        if need_mask and not need_weight:
            dx, dmask = _input_and_mask_gradient(x, dy, weight.to(x.dtype), mask, rows, columns)
        elif need_x:
            dx = dy @ _masked(weight, mask, rows, columns).to(x.dtype)
        if need_weight:
            dweight = _like(weight, dy, x).to(weight.dtype)
            if need_mask:
                dmask = _block_sums(dweight, weight, rows, columns)
            _masked(dweight, mask, rows, columns, out=dweight)
        return dx if need_x else None, dweight, dy.sum(0) if need_bias else None, dmask, None, None


def _blocks(edges: Edges) -> Iterator[slice]:
    return (slice(start, end) for start, end in zip((0, *edges), edges, strict=False))


def _transposed(weight: Tensor) -> bool:
    """Whether it is stored column by column, as Hugging Face's Conv1D stores it."""
    return weight.stride(0) == 1 and weight.stride(1) != 1


def _masked(weight: Tensor, mask: Tensor, rows: Edges, columns: Edges, out: Tensor | None = None) -> Tensor:
    """``weight * M`` in the weight's own layout, one block of rows after the other, so that M itself is never built."""
    if torch.compiler.is_compiling():
        return weight * over_units(over_units(mask, rows, 0), columns, 1)
    if _transposed(weight):
        return _masked(weight.t(), mask.t(), columns, rows, None if out is None else out.t()).t()
    out = torch.empty_like(weight) if out is None else out
    factors = over_units(mask, columns, 1)
    for block, factor in zip(_blocks(rows), factors, strict=True):
        torch.mul(weight[block], factor, out=out[block])
    return out


def _like(weight: Tensor, dy: Tensor, x: Tensor) -> Tensor:
    """The gradient of an unmasked weight, laid out as the weight is, for a copy would be due otherwise."""
    return (x.t() @ dy).t() if _transposed(weight) else dy.t() @ x


def _block_sums(gradient: Tensor, weight: Tensor, rows: Edges, columns: Edges) -> Tensor:
    """The mask's gradient: ``gradient * weight`` summed over each block, ``(row blocks, column blocks)``."""
    if _transposed(weight):
        return _block_sums(gradient.t(), weight.t(), columns, rows).t()
    sums = torch.stack([(gradient[block] * weight[block]).sum(0) for block in _blocks(rows)])
    return torch.stack([sums[:, block].sum(1) for block in _blocks(columns)], 1)


def _input_and_mask_gradient(
    x: Tensor, dy: Tensor, weight: Tensor, mask: Tensor, rows: Edges, columns: Edges
) -> tuple[Tensor, Tensor]:
    """Both from the products ``dy[:, r] @ W[r]`` of each block of rows, which together cost one product."""
    factors = over_units(mask, columns, 1)
    at_once = len(x) if torch.compiler.is_compiling() else ROWS_AT_ONCE
    pieces, sums = [], torch.zeros_like(factors)
    for start in range(0, len(x), at_once):
        piece = slice(start, start + at_once)
        products = [dy[piece, block] @ weight[block] for block in _blocks(rows)]
        sums = sums + torch.stack([(product * x[piece]).sum(0) for product in products])
        pieces.append(sum(product * factor for product, factor in zip(products, factors, strict=True)))
    return torch.cat(pieces), torch.stack([sums[:, block].sum(1) for block in _blocks(columns)], 1)
