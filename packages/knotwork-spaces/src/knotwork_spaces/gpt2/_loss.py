"""The language model's loss, for a plain upstream model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.nn import functional as F


def plain_metrics(model: Any, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The supernet's metrics of a plain upstream model: ``loss``, the mean next-token cross-entropy in nats.

    Args:
        model: as ``plain_model`` or ``extract`` returns it.
        batch: ``input_ids``: (batch, tokens).
    """
    ids = batch["input_ids"]
    # Autocast runs cross-entropy in float32 whatever the logits' precision.
    return {"loss": F.cross_entropy(model(input_ids=ids[:, :-1]).logits.flatten(0, 1), ids[:, 1:].flatten())}
