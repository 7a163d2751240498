"""Exact parameters and FLOPs of toy-cell networks, differentiable in a mixture."""

from __future__ import annotations

from functools import lru_cache

import torch
from knotwork_ops import Architecture, Mixture
from torch import Tensor

from knotwork_spaces.cells._space import ToyCellSpace
from knotwork_spaces.cells.toy_cell_network import CELLS, EDGES, OPERATIONS, pooled_size


def cell_cost(space: ToyCellSpace, selection: Mixture | Architecture) -> dict[str, Tensor]:
    """Parameters and FLOPs per image of an architecture, or their expectation under a mixture's independent choices.

    FLOPs are two for a multiply-add of every convolution and linear map: what torch's ``FlopCounterMode`` counts on the
    extracted net. MACs are half of them.

    Returns:
        ``params``, ``flops`` and ``macs``, 0-dim tensors, float64 so that large counts stay whole numbers.
    """
    if isinstance(selection, Architecture):
        selection = Mixture.one_hot(space, selection, dtype=torch.float64)
    edges = _edges(space)
    device = selection[space.choices[0].name].device
    total = torch.tensor(_outside(space), dtype=torch.float64, device=device)
    for name, weights in selection.items():
        options = [edges[name, str(option)] for option in space[name].options]
        total = total + weights.double() @ torch.tensor(options, dtype=torch.float64, device=device)
    params, macs = total.unbind()
    return {"params": params, "flops": 2 * macs, "macs": macs}


def parameter_count(space: ToyCellSpace, architecture: Architecture) -> int:
    """The parameters of an architecture as a plain number."""
    edges = _edges(space)
    return _outside(space)[0] + sum(edges[name, option][0] for name, option in architecture.items())


def _cells(space: ToyCellSpace) -> list[tuple[str, int, int, int, int]]:
    """Of each cell its kind, input channels, channels, and the pixels that enter and leave it, a side."""
    width, size = space.width, space.image_size
    half = -(-size // 2)
    quarter = -(-half // 2)
    sizes = ((space.channels, width, size, half), (2 * width, width, half, half), (2 * width, 2 * width, half, quarter))
    return [(kind, *row) for kind, row in zip(CELLS, sizes, strict=True)]


def _outside(space: ToyCellSpace) -> tuple[int, int]:
    """Parameters and multiply-adds of everything but the edges: the cells' inputs and the classifier."""
    params = macs = 0
    for _, inputs, channels, entering, _ in _cells(space):
        params += inputs * channels
        macs += inputs * channels * entering**2
    hidden = 4 * space.width
    linear = hidden * hidden * pooled_size(space.image_size) ** 2 + hidden * space.num_classes
    return params + linear + hidden + space.num_classes, macs + linear


@lru_cache(maxsize=64)
def _edges(space: ToyCellSpace) -> dict[tuple[str, str], tuple[int, int]]:
    """Parameters and multiply-adds that an operation adds to a choice's edge, in all cells of its kind."""
    found: dict[tuple[str, str], tuple[int, int]] = {}
    for kind, _, channels, _, leaving in _cells(space):
        for edge in EDGES:
            for name, (operation, size) in OPERATIONS.items():
                stages = 1 if operation == "dil_conv" else 2
                weights = stages * channels * (size**2 + channels)
                params, macs = found.get((f"{kind}_{edge}", name), (0, 0))
                found[f"{kind}_{edge}", name] = params + weights, macs + weights * leaving**2
    return found
