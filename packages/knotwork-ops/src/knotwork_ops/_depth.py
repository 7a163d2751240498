"""Depth: a net of l layers is the first l of the deepest one, or those l that matter most."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from knotwork_ops._profiles import scaled


@dataclass(frozen=True, eq=False)
class MixedDepth:
    """Depths, ascending, with their mixture weights ``(options,)``."""

    weights: Tensor
    options: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class SlicedDepth:
    """One depth, with its straight-through factor if it has one."""

    count: int
    factor: Tensor | None = None


@dataclass(frozen=True, eq=False)
class GatedDepth:
    """Layers that depths may skip, whichever they are.

    Attributes:
        shares: by layer, the weight of all depths that hold it, or the straight-through factor of a single one; None for a
            layer that is run as it is.
    """

    shares: tuple[Tensor | None, ...]


Depth = MixedDepth | SlicedDepth | GatedDepth


def run_layers(x: Tensor, layers: Sequence[Callable[[Tensor], Tensor]], depth: Depth) -> Tensor:
    """Run layers in order and mix the hidden states that the depth options end with: ``sum_l d_l x_l``.

    Where the depths do not share their first layers, a layer is mixed with its absence instead: ``x <- s f(x) + (1 - s) x``, s
    the weight of all depths that hold it. Both are what a single depth computes when it has all the weight.

    Args:
        x: the hidden state that enters the first layer.
        layers: at least as many as the largest depth; layers beyond the depth are not run.
        depth: the depths to mix, or the one to run.

    Returns:
        A tensor shaped like ``x``.

    Raises:
        ValueError: fewer layers than the depth.
    """
    if isinstance(depth, GatedDepth):
        return _gated(x, layers, depth)
    deepest = depth.count if isinstance(depth, SlicedDepth) else depth.options[-1]
    if len(layers) < deepest:
        raise ValueError(f"depth {deepest} needs as many layers, but there are {len(layers)}")
    if isinstance(depth, SlicedDepth):
        for layer in layers[: depth.count]:
            x = layer(x)
        return scaled(x, depth.factor)
    mixed = None
    for number, layer in enumerate(layers[: depth.options[-1]], start=1):
        x = layer(x)
        if number in depth.options:
            state = scaled(x, depth.weights[depth.options.index(number)])
            mixed = state if mixed is None else mixed + state
    assert mixed is not None
    return mixed


def _gated(x: Tensor, layers: Sequence[Callable[[Tensor], Tensor]], depth: GatedDepth) -> Tensor:
    if len(layers) < len(depth.shares):
        raise ValueError(f"there are shares of {len(depth.shares)} layers, but {len(layers)} layers")
    for layer, share in zip(layers, depth.shares, strict=False):
        y = layer(x)
        # Not x + s (y - x), which for s = 1 is y only up to rounding.
        x = y if share is None else scaled(y, share) + scaled(x, 1 - share)
    return x
