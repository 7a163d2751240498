"""Groups of heads: which units of the largest net's projections a smaller one has.

Rows of the query projection stand group by group, head by head in each, as upstream repeats a key-value head for the query
heads that follow each other. A net of fewer groups has the first; one of fewer heads a group, the first of each.

A narrower head keeps every n-th pair of units that the rotary embedding turns: pair i of a head of width d has the wavelength
``2 pi theta^(2i/d)``, so pair i of the narrower head is the one of the widest whose wavelength is the same. Values are not
turned: of them the first units are kept.
"""

from __future__ import annotations

from dataclasses import dataclass

from knotwork_ops import MixedWidth
from torch import Tensor


def rotary_units(tensor: Tensor, dim: int, stride: int) -> Tensor:
    """Every ``stride``-th pair of a head's units along a dimension; a pair is a unit and the one half a head further."""
    if stride == 1:
        return tensor
    dim = dim % tensor.dim()
    return tensor.unflatten(dim, (2, -1, stride)).select(dim + 2, 0).flatten(dim, dim + 1)


@dataclass(frozen=True)
class GroupUnits:
    """The units that a net of some groups, heads a group and head width uses of the largest net's projections.

    Attributes:
        largest: groups, query heads of each, and units of a head, in the largest net.
        used: the same of the net.
    """

    largest: tuple[int, int, int]
    used: tuple[int, int, int]

    @property
    def stride(self) -> int:
        """Of the pairs of units that are kept, one in how many."""
        return self.largest[2] // self.used[2]

    def queries(self, weight: Tensor) -> Tensor:
        """Rows of the query projection, (heads x width, in)."""
        return rotary_units(self._heads(weight), 2, self.stride).flatten(0, 2)

    def keys(self, weight: Tensor) -> Tensor:
        """Rows of the key projection, (groups x width, in)."""
        return rotary_units(self._groups(weight), 1, self.stride).flatten(0, 1)

    def values(self, weight: Tensor) -> Tensor:
        """Rows of the value projection, (groups x width, in)."""
        return self._groups(weight)[:, : self.used[2]].flatten(0, 1)

    def outputs(self, weight: Tensor) -> Tensor:
        """Columns of the output projection, (out, heads x width)."""
        return self._heads(weight.t())[:, :, : self.used[2]].flatten(0, 2).t()

    def norm(self, weight: Tensor) -> Tensor:
        """Weights of a norm over a head's queries or keys, (width,)."""
        return rotary_units(weight, 0, self.stride)

    def _heads(self, rows: Tensor) -> Tensor:
        groups, members, _ = self.used
        return rows.unflatten(0, self.largest)[:groups, :members]

    def _groups(self, rows: Tensor) -> Tensor:
        groups, _, width = self.largest
        return rows.unflatten(0, (groups, width))[: self.used[0]]


@dataclass(frozen=True, eq=False)
class MixedGroups:
    """Every option of the three choices, with mixture weights: key-value heads, query heads of each, units of a head."""

    groups: MixedWidth
    members: MixedWidth
    width: MixedWidth

    @property
    def units(self) -> GroupUnits:
        """All of them."""
        largest = self.groups.edges[-1], self.members.edges[-1], self.width.edges[-1]
        return GroupUnits(largest, largest)

    @property
    def shares(self) -> Tensor:
        """(heads,): the weight of all options that hold a query head, whatever its width."""
        return (self.groups.mean[:, None] * self.members.mean).flatten()


@dataclass(frozen=True, eq=False)
class SlicedGroups:
    """One option of each, and the product of their straight-through factors, if they have any."""

    units: GroupUnits
    factor: Tensor | None = None


Groups = MixedGroups | SlicedGroups
