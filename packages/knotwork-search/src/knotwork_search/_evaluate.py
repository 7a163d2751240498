"""Figures of an architecture with inherited weights, or of a network alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from knotwork_ops import Selection
from torch import Tensor, nn

from knotwork_search._protocols import Batch, Supernet

Metrics = Callable[[Any, Batch], dict[str, Tensor]]
"""``metrics(model, batch)``: 0-dim means by name, ``loss`` among them; such as a family's ``plain_metrics``."""


def evaluate(supernet: Supernet, data: Sequence[Batch], arch: Selection, accelerator: Accelerator) -> dict[str, float]:
    """The supernet's metrics for an architecture, averaged over batches weighted by their size.

    Nothing needs recalibration before it: a supernet holds no running statistics, which no subnet could inherit. One with batch
    norms uses each batch's own.
    """
    return _averaged(supernet, lambda batch: supernet.metrics(batch, arch), data, accelerator)


def evaluate_alone(model: nn.Module, metrics: Metrics, data: Sequence[Batch], accelerator: Accelerator) -> dict[str, float]:
    """A plain model's metrics, averaged over batches weighted by their size."""
    return _averaged(model, lambda batch: metrics(model, batch), data, accelerator)


def _averaged(
    module: Any, metrics: Callable[[Batch], dict[str, Tensor]], data: Sequence[Batch], accelerator: Accelerator
) -> dict[str, float]:
    totals: dict[str, Tensor] = {}
    items = 0
    training = module.training
    module.train(False)
    try:
        with torch.no_grad(), accelerator.autocast():
            for batch in data:
                size = _size(batch)
                items += size
                for name, value in metrics(batch).items():
                    totals[name] = totals.get(name, value.new_zeros((), dtype=torch.float64)) + value.double() * size
    finally:
        module.train(training)
    return {name: float(total) / items for name, total in totals.items()}


def _size(batch: Any) -> int:
    return len(next(iter(batch.values())))
