"""Figures of an architecture with inherited weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from accelerate import Accelerator
from knotwork_ops import Selection

from knotwork_search._protocols import Batch, Supernet


def evaluate(supernet: Supernet, data: Sequence[Batch], arch: Selection, accelerator: Accelerator) -> dict[str, float]:
    """The supernet's metrics for an architecture, averaged over batches weighted by their size.

    Nothing needs recalibration before it: the supernets hold no batch norm, whose running statistics no subnet inherits.
    """
    totals: dict[str, torch.Tensor] = {}
    items = 0
    training = supernet.training
    supernet.train(False)
    try:
        with torch.no_grad(), accelerator.autocast():
            for batch in data:
                size = _size(batch)
                items += size
                for name, value in supernet.metrics(batch, arch).items():
                    totals[name] = totals.get(name, value.new_zeros((), dtype=torch.float64)) + value.double() * size
    finally:
        supernet.train(training)
    return {name: float(total) / items for name, total in totals.items()}


def _size(batch: Any) -> int:
    return len(next(iter(batch.values())))
