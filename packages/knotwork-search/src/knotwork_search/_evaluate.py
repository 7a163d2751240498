"""Figures of an architecture with inherited weights, or of a network alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from knotwork_ops import Selection
from torch import Tensor, nn

from knotwork_search._processes import summed
from knotwork_search._protocols import Batch, Supernet

Metrics = Callable[[Any, Batch], dict[str, Tensor]]
"""``metrics(model, batch)``: 0-dim means by name, ``loss`` among them; such as a family's ``plain_metrics``."""


def evaluate(supernet: Supernet, data: Sequence[Batch], arch: Selection, accelerator: Accelerator) -> dict[str, float]:
    """The supernet's metrics for an architecture, averaged over batches weighted by their size.

    Every process gives the same batches and evaluates its share of them, so that all learn the same figures to the last bit.

    Nothing needs recalibration before it: a supernet holds no running statistics, which no subnet could inherit. One with batch
    norms uses each batch's own.
    """
    return _averaged(supernet, lambda batch: supernet.metrics(batch, arch), data, accelerator)


def evaluate_alone(model: nn.Module, metrics: Metrics, data: Sequence[Batch], accelerator: Accelerator) -> dict[str, float]:
    """A plain model's metrics, averaged as ``evaluate`` does."""
    return _averaged(model, lambda batch: metrics(model, batch), data, accelerator)


def _averaged(
    module: Any, metrics: Callable[[Batch], dict[str, Tensor]], data: Sequence[Batch], accelerator: Accelerator
) -> dict[str, float]:
    totals: dict[str, Tensor] = {}
    share = range(accelerator.process_index, len(data), accelerator.num_processes)
    training = module.training
    module.train(False)
    try:
        with torch.no_grad(), accelerator.autocast():
            # A process without a share looks at a batch that counts nothing, to know what is measured.
            for number in share or range(min(1, len(data))):
                batch = data[number]
                size = _size(batch) if share else 0
                for name, value in metrics(batch).items():
                    totals[name] = totals.get(name, value.new_zeros((), dtype=torch.float64)) + value.double() * size
    finally:
        module.train(training)
    sums = summed(torch.stack(list(totals.values())), accelerator) if totals else ()
    items = sum(_size(batch) for batch in data)
    return {name: float(total) / items for name, total in zip(totals, sums, strict=True)}


def _size(batch: Any) -> int:
    return len(next(iter(batch.values())))
