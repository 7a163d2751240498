"""What image classifiers share, whatever their family: their loss, what is measured of them, and what images they take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from knotwork_ops import Architecture, Selection
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


class Classifier:
    """What a supernet that classifies images computes from its ``logits``; a base beside its module."""

    space: Any

    def forward(self, batch: Mapping[str, Tensor], arch: Selection) -> Tensor:
        """The loss, so that wrappers which call the module (data parallelism, compilation) see the whole computation."""
        return self.loss(batch, arch)

    def loss(self, batch: Mapping[str, Tensor], arch: Selection) -> Tensor:
        """Mean cross-entropy in nats, 0-dim.

        Args:
            batch: ``image``: (batch, channels, height, width); ``label``: (batch,) class numbers, or (batch, classes)
                probabilities.
            arch: the mixture, hard sample or architecture to run.
        """
        return F.cross_entropy(self.logits(batch["image"], arch), batch["label"])

    def teach(self, batch: Mapping[str, Tensor], arch: Architecture) -> tuple[Tensor, dict[str, Tensor]]:
        """An architecture's loss, and the batch with its predictions as targets, for in-place distillation."""
        logits = self.logits(batch["image"], arch)
        return F.cross_entropy(logits, batch["label"]), {**batch, "label": logits.detach().softmax(-1)}

    def metrics(self, batch: Mapping[str, Tensor], arch: Selection) -> dict[str, Tensor]:
        """What evaluation reports, each a 0-dim mean over the batch: ``loss`` in nats, accuracies ``top1`` and ``top5``."""
        return classification_metrics(self.logits(batch["image"], arch), batch["label"])

    def logits(self, image: Tensor, arch: Selection) -> Tensor:
        """Class logits, (batch, classes), of images (batch, channels, height, width)."""
        raise NotImplementedError

    def check_images(self, image: Tensor) -> None:
        """Raise ValueError for images of another size than the space's."""
        wanted = (self.space.channels, self.space.image_size, self.space.image_size)
        if image.shape[1:] != wanted:
            raise ValueError(f"images are {tuple(image.shape[1:])}, but the space's {wanted} (channels, height, width)")
