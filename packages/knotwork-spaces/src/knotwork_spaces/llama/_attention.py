"""Grouped-query attention with rotary positions, over numbers of groups, heads of a group, and head widths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from knotwork_ops import rms_norm
from torch import Tensor
from torch.nn import functional as F

from knotwork_spaces.llama._heads import Groups, GroupUnits, SlicedGroups, rotary_units

Rotation = tuple[Tensor, Tensor]
"""Cosine and sine of every position's angles, (tokens, width) each."""


@dataclass(frozen=True, eq=False)
class HeadNorms:
    """Weights, (width,), of the RMS norms of a head's queries and keys, and what is added to the mean of the squares."""

    query: Tensor
    key: Tensor
    eps: float


def rotation(tokens: int, width: int, theta: float, like: Tensor) -> Rotation:
    """The rotary embedding of heads of a width, in upstream's float32 whatever the net's precision. Su et al. 2021, eq. 34.

    Args:
        tokens: positions from 0 on.
        width: units of a head.
        theta: base of the wavelengths.
        like: whose device and dtype the result has.
    """
    positions = torch.arange(tokens, device=like.device).float()
    angles = (positions[:, None] * _frequencies(width, theta, like.device)).repeat(1, 2)
    return angles.cos().to(like.dtype), angles.sin().to(like.dtype)


@lru_cache(maxsize=64)
def _frequencies(width: int, theta: float, device: torch.device) -> Tensor:
    # On the CPU, as upstream computes them: another device's powers may differ in the last bit.
    with torch.inference_mode(False), torch.device("cpu"):
        return (1.0 / theta ** (torch.arange(0, width, 2, dtype=torch.float32) / width)).to(device)


def grouped_attention(
    q: Tensor, k: Tensor, v: Tensor, heads: Groups, rotations: Sequence[Rotation], norms: HeadNorms | None = None
) -> Tensor:
    """Causal self-attention in which query heads share the keys and values of their group. Ainslie et al. 2023, section 2.

    Head r of group g is the same whatever the numbers of groups and heads, so they share one attention, whose output is scaled
    by the weight of all options that hold the head. Head widths attend one after the other, each with its own scale
    ``1/sqrt(width)``, and their outputs, padded to the largest, are mixed by their weights.

    Args:
        q: (batch, tokens, groups x heads a group x width), of the largest options, or of the chosen ones when sliced.
        k, v: (batch, tokens, groups x width), likewise.
        heads: the options to mix, or those to run.
        rotations: of each head width in turn.
        norms: of queries and keys, at the largest width; None where there are none.

    Returns:
        A tensor shaped like ``q``.
    """
    groups, members, width = heads.units.used
    q, k, v = q.unflatten(-1, (-1, width)), k.unflatten(-1, (-1, width)), v.unflatten(-1, (-1, width))
    if isinstance(heads, SlicedGroups):
        y = _attend(q, k, v, rotations[0], _taken(norms, heads.units))
        return (y if heads.factor is None else y * heads.factor.to(y.dtype)).flatten(2)
    assert heads.width.prefixes is not None
    parts = []
    for own, weight, turn in zip(heads.width.prefixes, heads.width.weights, rotations, strict=True):
        units = GroupUnits(heads.units.largest, (groups, members, own))
        one_q, one_k = rotary_units(q, -1, units.stride), rotary_units(k, -1, units.stride)
        y = _attend(one_q, one_k, v[..., :own], turn, _taken(norms, units))
        y = y * (heads.shares * weight)[:, None].to(y.dtype)
        parts.append(y if own == width else F.pad(y, (0, width - own)))
    return sum(parts[1:], start=parts[0]).flatten(2)


def _taken(norms: HeadNorms | None, units: GroupUnits) -> HeadNorms | None:
    return None if norms is None else HeadNorms(units.norm(norms.query), units.norm(norms.key), norms.eps)


def _attend(q: Tensor, k: Tensor, v: Tensor, turn: Rotation, norms: HeadNorms | None) -> Tensor:
    """One head width: queries, and keys and values of fewer heads, each (batch, tokens, heads, width)."""
    if norms is not None:
        q, k = rms_norm(q, norms.query, eps=norms.eps), rms_norm(k, norms.key, eps=norms.eps)
    # Norms and rotation are in float32 under autocast; values say in which precision to attend.
    q, k = _turned(q, turn).to(v.dtype), _turned(k, turn).to(v.dtype)
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=q.shape[-1] ** -0.5, enable_gqa=True)
    return y.transpose(1, 2)


def _turned(x: Tensor, turn: Rotation) -> Tensor:
    cos, sin = (table[:, None] for table in turn)
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat((-second, first), -1) * sin
