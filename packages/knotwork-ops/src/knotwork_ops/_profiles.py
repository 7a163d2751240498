"""How a dimension is used: the 0/1 tables, and widths that are either superposed or sliced (design.md, section 3).

Every entangled operation takes a ``Width`` for each searchable dimension. A ``MixedWidth`` superposes all options in one
pass; a ``SlicedWidth`` runs one option at its own cost. The operations dispatch on which it is, so a supernet's forward pass is
written once for both ways.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class MixedWidth:
    """A dimension of ``size`` units on which every option of one choice is superposed.

    Attributes:
        choice: name of the choice; two dimensions of one operation that follow the same choice are mixed jointly.
        weights: ``(options,)``, the mixture weights.
        profile: ``(options, size)``, how much of each unit an option uses: 0 or 1, or in between where another choice has
            been mixed in already (``joint_width``).
        prefixes: the options' widths when each uses a prefix of the units, else None.
    """

    choice: str
    weights: Tensor
    profile: Tensor
    prefixes: tuple[int, ...] | None = None

    @property
    def mean(self) -> Tensor:
        """``(size,)``: the profile m(c) = sum_i a_i [c in option i]."""
        return (self.weights[:, None] * self.profile).sum(0)


def check_heads(width: int, heads: int) -> None:
    """Raise ValueError when a width cannot be split evenly over heads."""
    if width % heads:
        raise ValueError(f"width {width} is not divisible by {heads} heads: every width must be divisible by every head count")


@dataclass(frozen=True)
class HeadUnits:
    """The units of ``parts`` projections of ``size`` each that an embedding of ``width`` split over ``heads`` uses.

    A head keeps its place when the embedding shrinks: each of the ``heads`` super-heads of width ``size / heads`` gives its
    first ``width / heads`` dims. ``parts`` is 3 for a joint query, key and value projection.

    Raises:
        ValueError: a size or width that the heads do not divide.
    """

    size: int
    heads: int
    width: int
    parts: int = 1

    def __post_init__(self) -> None:
        check_heads(self.size, self.heads)
        check_heads(self.width, self.heads)

    def take(self, tensor: Tensor, dim: int) -> Tensor:
        """These units of a tensor along one dimension."""
        dim = dim % tensor.dim()
        split = tensor.unflatten(dim, (self.parts, self.heads, self.size // self.heads))
        return split.narrow(dim + 2, 0, self.width // self.heads).flatten(dim, dim + 2)


@dataclass(frozen=True, eq=False)
class SlicedWidth:
    """A dimension of which one option's units are used.

    Attributes:
        choice: name of the choice.
        units: the units the option uses: the length of a prefix, or a share of every head.
        factor: straight-through factor of the option (value one), or None.
        profile: the same for the choice that was joined in (``joint_width``), or None.
    """

    choice: str
    units: int | HeadUnits
    factor: Tensor | None = None
    profile: Tensor | None = None

    def take(self, tensor: Tensor, dim: int) -> Tensor:
        """The option's units of a tensor along one dimension; a view when they are a prefix."""
        if isinstance(self.units, int):
            return tensor.narrow(dim, 0, self.units)
        return self.units.take(tensor, dim)

    @property
    def scale(self) -> Tensor | None:
        """The product of both factors, or None when there is neither."""
        return product(self.factor, self.profile)


Width = MixedWidth | SlicedWidth


def product(*factors: Tensor | None) -> Tensor | None:
    """The product of those factors that are there, or None."""
    result = None
    for factor in factors:
        if factor is not None:
            result = factor if result is None else result * factor
    return result


def scaled(x: Tensor, factor: Tensor | None) -> Tensor:
    """``x * factor``, or ``x`` itself when there is no factor."""
    return x if factor is None else x * factor.to(x.dtype)


def full_precision(x: Tensor) -> torch.autocast:
    """A context in which autocast is off: mixtures, masks and statistics stay in their own precision."""
    return torch.autocast(x.device.type, enabled=False)


def prefix_width(choice: str, weights: Tensor, options: Sequence[int]) -> MixedWidth:
    """The mixed width of a dimension whose options use its first ``o`` units; the largest option is the whole dimension.

    Args:
        choice: the choice's name.
        weights: ``(options,)`` mixture weights.
        options: the widths, ascending.
    """
    prefixes = tuple(options)
    table = prefix_table(prefixes, prefixes[-1], weights.dtype, weights.device)
    return MixedWidth(choice, weights, table, prefixes)


def joint_width(outer: MixedWidth, weights: Tensor, widths: Sequence[Sequence[int]]) -> MixedWidth:
    """The mixed width of a dimension whose width depends on two choices, such as an MLP's hidden units (ratio x embedding).

    It follows the outer choice, so that together with the outer dimension it forms the combi-superposition
    ``M[r, c] = sum_{i,j} a_i b_j [r < widths[i][j]][c in option i]``.

    Args:
        outer: the width of the first choice (i, weights a).
        weights: ``(inner options,)``, weights b of the second choice (j).
        widths: ``widths[i][j]``, the units used by the pair; the last pair uses all.
    """
    size = widths[-1][-1]
    flat = tuple(width for row in widths for width in row)
    table = prefix_table(flat, size, weights.dtype, weights.device).view(len(widths), -1, size)
    return MixedWidth(outer.choice, outer.weights, (table * weights[:, None]).sum(1))


@lru_cache(maxsize=256)
def prefix_table(widths: tuple[int, ...], size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """``(len(widths), size)`` of 0 and 1: row i holds ones in its first ``widths[i]`` places."""
    with torch.inference_mode(False):
        positions = torch.arange(size, device=device)
        return (positions < torch.tensor(widths, device=device)[:, None]).to(dtype)


@lru_cache(maxsize=256)
def head_tables(
    embeds: tuple[int, ...], heads: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Which units each pair of head count and embedding uses, ``(heads, embeds, size)``: as 0/1, and times 1/sqrt(e/h)."""
    size = embeds[-1]
    for embed in embeds:
        for count in heads:
            check_heads(embed, count)
    with torch.inference_mode(False):
        used = torch.zeros(len(heads), len(embeds), size, dtype=dtype, device=device)
        for j, count in enumerate(heads):
            for i, embed in enumerate(embeds):
                used[j, i].view(count, -1)[:, : embed // count] = 1
        widths = torch.tensor([[e / h for e in embeds] for h in heads], dtype=dtype, device=device)
        return used, used * widths[..., None] ** -0.5
