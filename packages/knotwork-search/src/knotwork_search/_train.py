"""Training one network alone: what a found architecture is retrained and compared with."""

from __future__ import annotations

from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from knotwork_search._batches import batches
from knotwork_search._evaluate import Metrics
from knotwork_search._optimisers import cosine, set_learning_rate, weight_optimiser


def train_alone(
    model: nn.Module,
    metrics: Metrics,
    data: Any,
    accelerator: Accelerator,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    weight_decay: float = 0.1,
    warmup_share: float = 0.1,
    clip: float = 1.0,
    seed: int = 0,
) -> None:
    """Train a plain model in place: AdamW, the rate rising linearly and then falling to nothing in a half cosine.

    Args:
        model: on the accelerator's device.
        metrics: ``loss`` of a batch among them, such as a family's ``plain_metrics``.
        data: as ``batches`` takes it.
        accelerator: for its precision.
        steps: weight steps.
        batch_size: items in a batch.
        learning_rate: the peak.
        weight_decay: of matrices.
        warmup_share: share of the steps over which the rate rises.
        clip: largest norm of the gradient.
        seed: of the order of the data.
    """
    optimiser = weight_optimiser(model.named_parameters(), learning_rate, weight_decay, accelerator.device)
    stream = batches(data, batch_size, accelerator, seed=seed)
    model.train(True)
    for step in range(steps):
        set_learning_rate(optimiser, learning_rate * cosine(step, steps, max(1, round(steps * warmup_share)), floor=0.0))
        with accelerator.autocast():
            loss = metrics(model, next(stream))["loss"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimiser.step()
        optimiser.zero_grad()
