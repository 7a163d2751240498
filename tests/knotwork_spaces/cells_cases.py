"""The toy-cell spaces and supernets that the tests compare on: small images and narrow cells, in batches of a few."""

from __future__ import annotations

from typing import Any

import torch
from knotwork_spaces.cells import ToyCellSpace, ToyCellSupernet
from torch import Tensor, nn


def tiny_cells(**changes: Any) -> ToyCellSpace:
    """All operations on every edge; 7 pixels, which halve unevenly."""
    return ToyCellSpace.build(**{"image_size": 7, "channels": 2, "num_classes": 3, "width": 8, "dropout": 0.0, **changes})


def cells_supernet(space: ToyCellSpace, dtype: torch.dtype = torch.float64, seed: int = 0) -> ToyCellSupernet:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        supernet = ToyCellSupernet(space).eval()
    return supernet.to(dtype)


def images(space: ToyCellSpace, dtype: torch.dtype = torch.float64, batch: int = 3, seed: int = 0) -> Tensor:
    shape = (batch, space.channels, space.image_size, space.image_size)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def with_batch_statistics(model: nn.Module) -> nn.Module:
    """The model in eval mode, but its norms use the batch's own statistics, as a supernet's do."""
    model.eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train()
    return model
