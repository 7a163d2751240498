"""Depth: a net of l layers is the first l of the deepest one."""

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


Depth = MixedDepth | SlicedDepth


def run_layers(x: Tensor, layers: Sequence[Callable[[Tensor], Tensor]], depth: Depth) -> Tensor:
    """Run layers in order and mix the hidden states that the depth options end with: ``sum_l d_l x_l``.

    Args:
        x: the hidden state that enters the first layer.
        layers: at least as many as the largest depth; layers beyond the depth are not run.
        depth: the depths to mix, or the one to run.

    Returns:
        A tensor shaped like ``x``.

    Raises:
        ValueError: fewer layers than the depth.
    """
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
