"""What is measured of a classifier, whatever its family."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def classification_metrics(logits: Tensor, label: Tensor) -> dict[str, Tensor]:
    """Mean cross-entropy in nats, and the shares of images whose label is the likeliest or among the five likeliest.

    Args:
        logits: (batch, classes).
        label: (batch,) class numbers, or (batch, classes) probabilities, for which there is no accuracy.

    Returns:
        ``loss``, and for class numbers ``top1`` and ``top5``, 0-dim.
    """
    # Autocast runs cross-entropy in float32 whatever the logits' precision.
    metrics = {"loss": F.cross_entropy(logits, label)}
    if label.dim() == 1:
        with torch.no_grad():
            ranked = logits.topk(min(5, logits.shape[-1]), -1).indices == label[:, None]
            metrics |= {"top1": ranked[:, 0].float().mean(), "top5": ranked.any(-1).float().mean()}
    return metrics
