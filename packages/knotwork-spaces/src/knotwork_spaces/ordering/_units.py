"""Which units of a network may change places without changing what it computes, and where they lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Place:
    """Where the units of a group lie in one parameter.

    Attributes:
        parameter: its name.
        axis: the dimension that the units lie along.
        positions: (units, entries of each) along that dimension.
    """

    parameter: str
    axis: int
    positions: Tensor


@dataclass(frozen=True, eq=False)
class Reading:
    """Where the activations of a group's units can be read.

    Attributes:
        module: its name.
        side: whether they are what the module gets, or what it gives.
        positions: (units, entries of each) along the last dimension.
    """

    module: str
    side: Literal["input", "output"]
    positions: Tensor


@dataclass(frozen=True, eq=False)
class UnitGroup:
    """Units that can change places with one another: a permutation in all places computes the same function."""

    name: str
    places: tuple[Place, ...]
    readings: tuple[Reading, ...]

    @property
    def count(self) -> int:
        """How many units there are."""
        return len(self.places[0].positions)


@dataclass(frozen=True)
class Layer:
    """A residual layer.

    Attributes:
        module: its name; it is called with the stream, and returns the stream.
        outputs: the parameters that lead back to the stream; were they zero, the layer would do nothing.
    """

    module: str
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Units:
    """All units of a network that can be ordered.

    Attributes:
        groups: those that change places. A group within another's units (units of a head) stands before it.
        layers: those that cannot, but may be left out by shallower nets.
    """

    groups: tuple[UnitGroup, ...]
    layers: tuple[Layer, ...]
