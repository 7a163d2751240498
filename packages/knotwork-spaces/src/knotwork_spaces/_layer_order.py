"""Which layers a shallower net keeps: the first, or those that matter most."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from knotwork_ops import DEPTH, Depth, GatedDepth, MixedDepth, SearchSpace, SlicedDepth
from torch import Tensor


@dataclass(frozen=True)
class LayeredSpace(SearchSpace):
    """A search space of networks that are a stack of layers, whose depth is a choice.

    Attributes:
        layer_order: the supernet's layers, those first that the shallower nets keep; None where they keep the first. What is
            chosen per layer follows this order: its n-th entry is the layer's that is n-th here.

    Raises:
        ValueError: a layer order that does not name every layer once.
    """

    layer_order: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layer_order is not None:
            object.__setattr__(self, "layer_order", _checked(self.layer_order, self[DEPTH].options[-1]))

    def ranks(self, depth: int) -> list[int]:
        """The places in ``layer_order`` of the layers that a net of this depth keeps, in the order that they run in."""
        if self.layer_order is None:
            return list(range(depth))
        return sorted(range(depth), key=self.layer_order.__getitem__)

    def layer(self, rank: int) -> int:
        """The supernet's layer at a place of ``layer_order``."""
        return rank if self.layer_order is None else self.layer_order[rank]

    def mixed_depth(self, weights: Tensor, ranks: Sequence[int]) -> Depth:
        """How a mixture uses the layers of these ranks.

        Args:
            weights: of the depth's options, (options,).
            ranks: of all layers.
        """
        depths = tuple(int(o) for o in self[DEPTH].options)
        if self.layer_order is None:
            return MixedDepth(weights, depths)
        # The weights sum to one, so a layer that every depth holds is run as it is.
        first = [bisect_right(depths, rank) for rank in ranks]
        return GatedDepth(tuple(None if at == 0 else weights[at:].sum() for at in first))

    def sliced_depth(self, factor: Tensor | None, ranks: Sequence[int]) -> Depth:
        """How one architecture uses the layers of these ranks, which are those that it has.

        Args:
            factor: the straight-through factor of its depth, if it has one.
            ranks: of its layers.
        """
        if self.layer_order is None:
            return SlicedDepth(len(ranks), factor)
        return GatedDepth(tuple(factor if rank >= self[DEPTH].numbers[0] else None for rank in ranks))


def _checked(order: Any, layers: Any) -> tuple[int, ...]:
    """A layer order as a tuple. Raises ValueError when it does not name each of the layers once."""
    if not isinstance(order, Sequence) or any(isinstance(n, bool) or not isinstance(n, int) for n in order):
        raise ValueError(f"layer_order is {order!r}: it must list the layers 0 to {layers - 1}")
    if sorted(order) != list(range(layers)):
        raise ValueError(f"layer_order is {list(order)}: it must name each of the layers 0 to {layers - 1} once")
    return tuple(order)
