"""How a dimension is used: the 0/1 tables, and widths that are either superposed or sliced (design.md, section 3).

Every entangled operation takes a ``Width`` for each searchable dimension. A ``MixedWidth`` superposes all options in one
pass; a ``SlicedWidth`` runs one option at its own cost. The operations dispatch on which it is, so a supernet's forward pass is
written once for both ways.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from knotwork_ops._tables import block_numbers, block_table, check_heads


@dataclass(frozen=True, eq=False)
class MixedWidth:
    """A dimension on which every option of one choice is superposed.

    Its units fall into blocks that every option uses as a whole, so a profile needs one number a block, whatever the size.

    Attributes:
        choice: name of the choice; two dimensions of one operation that follow the same choice are mixed jointly.
        weights: ``(options,)``, the mixture weights.
        edges: where each block ends, ascending; the last is the size of the dimension.
        profile: ``(options, blocks)``, how much of each block an option uses: 0 or 1, or in between where another choice has
            been mixed in already (``joint_width``).
        prefixes: the options' widths when each uses a prefix of the units, else None.
    """

    choice: str
    weights: Tensor
    edges: tuple[int, ...]
    profile: Tensor
    prefixes: tuple[int, ...] | None = None

    @property
    def mean(self) -> Tensor:
        """``(size,)``: the profile m(c) = sum_i a_i [c in option i]."""
        return over_units((self.weights[:, None] * self.profile).sum(0), self.edges)


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


def full_precision(x: Tensor) -> AbstractContextManager[Any]:
    """A context in which autocast is off: mixtures, masks and statistics stay in their own precision."""
    kind = x.device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()


def lowered(x: Tensor) -> Tensor:
    """``x`` as autocast gives it to a matrix product: in the lower precision where it is on, else itself."""
    kind = x.device.type
    on = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return x.to(torch.get_autocast_dtype(kind)) if on and x.dtype != torch.float64 else x


def prefix_width(choice: str, weights: Tensor, options: Sequence[int]) -> MixedWidth:
    """The mixed width of a dimension whose options use its first ``o`` units; the largest option is the whole dimension.

    Args:
        choice: the choice's name.
        weights: ``(options,)`` mixture weights.
        options: the widths, ascending.
    """
    prefixes = tuple(options)
    return MixedWidth(choice, weights, prefixes, block_table(prefixes, prefixes, weights.dtype, weights.device), prefixes)


def joint_width(outer: MixedWidth, weights: Tensor, widths: Sequence[Sequence[int]]) -> MixedWidth:
    """The mixed width of a dimension whose width depends on two choices, such as an MLP's hidden units (ratio x embedding).

    It follows the outer choice, so that together with the outer dimension it forms the combi-superposition
    ``M[r, c] = sum_{i,j} a_i b_j [r < widths[i][j]][c in option i]``.

    Args:
        outer: the width of the first choice (i, weights a).
        weights: ``(inner options,)``, weights b of the second choice (j).
        widths: ``widths[i][j]``, the units used by the pair; the last pair uses all.
    """
    flat = tuple(width for row in widths for width in row)
    edges = tuple(sorted(set(flat)))
    table = block_table(flat, edges, weights.dtype, weights.device).view(len(widths), -1, len(edges))
    return MixedWidth(outer.choice, outer.weights, edges, (table * weights[:, None]).sum(1))


def over_units(values: Tensor, edges: tuple[int, ...], dim: int = -1) -> Tensor:
    """Each block's value at each of its units: ``(..., blocks)`` to ``(..., size)`` along a dimension."""
    return values.index_select(dim, block_numbers(edges, values.device))
