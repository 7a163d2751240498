"""Attention over head counts: every count views the same projections (design.md, section 3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from knotwork_ops._profiles import HeadUnits, MixedWidth, SlicedWidth, Width, prefix_width, product, scaled
from knotwork_ops._tables import head_tables


@dataclass(frozen=True, eq=False)
class MixedHeads:
    """Head counts, ascending, with their mixture weights ``(options,)``."""

    weights: Tensor
    options: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class SlicedHeads:
    """One head count, with its straight-through factor if it has one."""

    count: int
    factor: Tensor | None = None


Heads = MixedHeads | SlicedHeads


def head_width(embed: Width, heads: Heads, size: int, parts: int = 1) -> SlicedWidth | None:
    """The part of ``parts`` projections of ``size`` units each that one architecture's heads use, as a width.

    None for a mixture, which computes all units and masks inside ``attention``. The embedding's factor is applied by
    ``attention`` too, so the width carries none.
    """
    if isinstance(embed, MixedWidth) or isinstance(heads, MixedHeads):
        return None
    if not isinstance(embed.units, int):
        raise ValueError(f"heads of choice {embed.choice!r} need an embedding that is a prefix")
    if embed.units == size:
        return SlicedWidth("heads", parts * size)
    return SlicedWidth("heads", HeadUnits(size, heads.count, embed.units, parts))


def fixed_head_width(heads: Heads, head_dim: int, size: int, parts: int = 1) -> SlicedWidth | None:
    """The same where every head has ``head_dim`` units: a smaller count is the first heads. None for a mixture.

    Args:
        heads: the head counts.
        head_dim: units of one head.
        size: units of one projection, for the largest count.
        parts: projections side by side, 3 for joint queries, keys and values.
    """
    if isinstance(heads, MixedHeads):
        return None
    units = HeadUnits(size, 1, heads.count * head_dim, parts) if heads.count * head_dim < size else parts * size
    return SlicedWidth("heads", units)


def fixed_head_attention(
    q: Tensor, k: Tensor, v: Tensor, heads: Heads, head_dim: int, *, causal: bool, dropout: float = 0.0
) -> Tensor:
    """Self-attention whose head count is searched and whose heads all have one width, such as AutoFormer's 64.

    A count of h heads uses the first h, so all counts share one attention: head j, counted from 0, is scaled by the weight of
    all counts above j.

    Args:
        q, k, v: ``(batch, tokens, heads x head_dim)`` each, for the largest count, or the chosen one when sliced.
        heads: the head counts.
        head_dim: units of one head.
        causal: whether a token sees only itself and what stands before it.
        dropout: probability of dropping an attention weight.

    Returns:
        A tensor shaped like ``q``.
    """
    if isinstance(heads, SlicedHeads):
        return scaled(_attend(q, k, v, heads.count, head_dim**-0.5, causal, dropout), heads.factor)
    out = _attend(q, k, v, heads.options[-1], head_dim**-0.5, causal, dropout)
    return scaled(out, prefix_width("heads", heads.weights, [count * head_dim for count in heads.options]).mean)


def attention(q: Tensor, k: Tensor, v: Tensor, embed: Width, heads: Heads, *, causal: bool, dropout: float = 0.0) -> Tensor:
    """Self-attention whose embedding width and head count are both searched.

    For a count of h heads, the embedding option e uses the first e/h dims of each of h super-heads of width size/h. Queries,
    keys and values are mixed over e, with the option's own 1/sqrt(e/h) folded into the query; each head count attends once, and
    the outputs, all in one layout, are mixed by the heads' weights.

    Args:
        q, k, v: ``(batch, tokens, size)`` each, or ``(batch, tokens, e)`` in the subnet's own order when sliced.
        embed: the width that the projections follow; mixed ones need ``prefixes``.
        heads: the head counts.
        causal: whether a token sees only itself and what stands before it.
        dropout: probability of dropping an attention weight.

    Returns:
        A tensor shaped like ``q``.

    Raises:
        TypeError: one of embedding and heads is mixed and the other sliced.
    """
    if isinstance(embed, MixedWidth) and isinstance(heads, MixedHeads):
        return _mixed(q, k, v, embed, heads, causal, dropout)
    if isinstance(embed, SlicedWidth) and isinstance(heads, SlicedHeads):
        scale = (q.shape[-1] / heads.count) ** -0.5
        q = scaled(q, product(embed.factor, embed.factor))
        mixed = _attend(q, k, v, heads.count, scale, causal, dropout)
        return scaled(mixed, product(embed.factor, heads.factor))
    raise TypeError("embedding and heads must both be mixed or both sliced")


def _mixed(q: Tensor, k: Tensor, v: Tensor, embed: MixedWidth, heads: MixedHeads, causal: bool, dropout: float) -> Tensor:
    if embed.prefixes is None:
        raise ValueError(f"attention over choice {embed.choice!r} needs options that are prefixes of the embedding")
    used, used_scaled = head_tables(embed.prefixes, heads.options, embed.weights.dtype, embed.weights.device)
    weights = embed.weights[:, None]
    # Per channel: k's profile moves into q, v's into the output, so that keys and values are shared by all head counts.
    kept = (weights * used).sum(1)
    query_scale = (weights * used_scaled).sum(1) * kept
    output_scale = heads.weights[:, None] * kept
    result = torch.zeros_like(q)
    for j in _attending(heads.weights):
        attended = _attend(scaled(q, query_scale[j]), k, v, heads.options[j], 1.0, causal, dropout)
        result = result + scaled(attended, output_scale[j])
    return result


def _attending(weights: Tensor) -> list[int]:
    """The head counts that have to attend: not those of weight zero, where no gradient and no accelerator asks for them."""
    if weights.requires_grad or weights.device.type != "cpu" or torch.compiler.is_compiling():
        return list(range(len(weights)))
    return [j for j, weight in enumerate(weights.tolist()) if weight != 0]


def _attend(q: Tensor, k: Tensor, v: Tensor, count: int, scale: float, causal: bool, dropout: float) -> Tensor:
    split = [t.unflatten(-1, (count, -1)).transpose(1, 2) for t in (q, k, v)]
    out = F.scaled_dot_product_attention(*split, dropout_p=dropout, is_causal=causal, scale=scale)
    return out.transpose(1, 2).flatten(2)
