"""The language model's loss, of the supernet and of a plain model alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.nn import functional as F


def next_token_loss(logits: Tensor, ids: Tensor) -> Tensor:
    """Mean next-token cross-entropy in nats, 0-dim.

    Args:
        logits: (batch, tokens - 1, vocabulary), of all tokens but the last.
        ids: (batch, tokens).
    """
    # Autocast runs cross-entropy in float32 whatever the logits' precision.
    return F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())


def plain_metrics(model: Any, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The supernet's metrics of a plain upstream model: ``loss`` in nats per token.

    Args:
        model: as ``plain_model`` or ``extract`` returns it.
        batch: ``input_ids``: (batch, tokens).
    """
    ids = batch["input_ids"]
    return {"loss": next_token_loss(model(input_ids=ids[:, :-1]).logits, ids)}
