"""The latency of any architecture, or its expectation under a mixture, from the timings of single blocks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from string import ascii_lowercase
from typing import Any, Self

import torch
from knotwork_ops import DEPTH, Architecture, Mixture, SearchSpace
from torch import Tensor


@dataclass(frozen=True, eq=False)
class LatencyTable:
    """Milliseconds of a block by the options that say how large it is, and of what lies outside the blocks.

    A pass takes what its blocks and the rest take. Called with a selection, the table tells that sum.

    Attributes:
        space: the search space; it has a depth.
        shared: names of the choices that all blocks share and the rest depends on, in the order of the axes.
        inside: names of the other choices that a block depends on.
        outside: float64, one axis for each choice of ``shared``.
        blocks: float64, one axis for each choice of ``shared``, then of ``inside``.
        median_error: of predictions, relative to what was measured, as checked when the table was built; None if it was not.
    """

    space: SearchSpace
    shared: tuple[str, ...]
    inside: tuple[str, ...]
    outside: Tensor
    blocks: Tensor
    median_error: float | None = None

    def __call__(self, selection: Mixture | Architecture) -> Tensor:
        """Milliseconds of a pass, 0-dim float64; expected under a mixture's independent choices, and differentiable in it."""
        mixture = Mixture.one_hot(self.space, selection) if isinstance(selection, Architecture) else selection
        depth = mixture[DEPTH].double()
        options = [int(option) for option in self.space[DEPTH].options]
        deep_enough = [[option > layer for option in options] for layer in range(options[-1])]
        used = torch.tensor(deep_enough, dtype=torch.float64, device=depth.device) @ depth
        # One letter an axis; Z is the layer, by which the weights of choices made per layer differ.
        letters = dict(zip((*self.shared, *self.inside), ascii_lowercase, strict=False))
        weights = {name: mixture[name].double() for name in letters}
        axes = {name: f"Z{letter}" if self.space[name].per_layer else letter for name, letter in letters.items()}
        blocks, outside = self.blocks.to(depth.device), self.outside.to(depth.device)
        terms = ",".join(("".join(letters.values()), "Z", *axes.values()))
        in_blocks = torch.einsum(f"{terms}->", blocks, used, *weights.values())
        terms = ",".join(("".join(letters[name] for name in self.shared), *(axes[name] for name in self.shared)))
        return in_blocks + torch.einsum(f"{terms}->", outside, *(weights[name] for name in self.shared))

    def as_dict(self) -> dict[str, Any]:
        """The numbers as JSON values; ``from_dict`` reads them."""
        return {
            "shared": list(self.shared),
            "inside": list(self.inside),
            "outside": self.outside.tolist(),
            "blocks": self.blocks.tolist(),
            "median_error": self.median_error,
        }

    @classmethod
    def from_dict(cls, space: SearchSpace, values: Mapping[str, Any]) -> Self:
        """A table of a space from what ``as_dict`` gave.

        Raises:
            ValueError: values that are missing, of another shape, or no positive times that never fall when an option grows.
        """
        try:
            shared, inside = (tuple(map(str, values[name])) for name in ("shared", "inside"))
            outside, blocks = (torch.tensor(values[name], dtype=torch.float64) for name in ("outside", "blocks"))
            error = values["median_error"]
            shapes = [tuple(len(space[name].options) for name in names) for names in (shared, (*shared, *inside))]
        except (KeyError, TypeError, RuntimeError, ValueError, OverflowError) as problem:
            raise ValueError(f"it is no latency table of this space: {problem}") from problem
        if [tuple(outside.shape), tuple(blocks.shape)] != shapes:
            raise ValueError(f"its tables are {tuple(outside.shape)} and {tuple(blocks.shape)}, but the space's {shapes}")
        for table in (outside, blocks):
            if not bool((table.isfinite() & (table > 0)).all()) or not torch.equal(table, monotone(table)):
                raise ValueError("its times are not positive, or fall when an option grows")
        if error is not None and not (isinstance(error, float) and 0 <= error < math.inf):
            raise ValueError(f"its median error is {error!r}")
        return cls(space, shared, inside, outside, blocks, error)


def monotone(table: Tensor) -> Tensor:
    """The table with values that never fall along any axis, as the search's enumeration needs them.

    Where a larger option was timed faster, be it noise or true, both times move towards each other: the result is the mean of
    the least monotone table above and of the greatest below, so that predictions are neither raised nor lowered on the whole.
    """
    above = below = table
    for axis in range(table.dim()):
        above = above.cummax(axis).values
        below = below.flip(axis).cummin(axis).values.flip(axis)
    return (above + below) / 2
