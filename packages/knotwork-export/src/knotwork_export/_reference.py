"""What a model is compared on: token ids, and the logits that a supernet computes for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SEQUENCES, MAX_TOKENS = 2, 64


@dataclass(frozen=True, eq=False)
class Reference:
    """Token ids and, where a supernet computed them, its logits; both on the CPU.

    Attributes:
        ids: (batch, tokens), int64.
        logits: (batch, tokens, vocabulary), or None.
    """

    ids: Tensor
    logits: Tensor | None


def build_reference(model: PreTrainedModel, ids: Tensor | None, logits: Tensor | None) -> Reference:
    """The given reference, checked against the model's sizes; random ids from a private generator when there are none.

    Raises:
        ValueError: ids or logits of a shape, type or range that the model cannot have computed, or logits without ids.
    """
    vocabulary, longest = int(model.config.vocab_size), _longest(model)
    if ids is None:
        if logits is not None:
            raise ValueError("reference_logits were given without reference_ids: pass the token ids they were computed on")
        generator = torch.Generator().manual_seed(0)
        size = (SEQUENCES, min(longest, MAX_TOKENS))
        return Reference(torch.randint(vocabulary, size, generator=generator, device="cpu"), None)
    if ids.ndim != 2 or ids.is_floating_point() or not ids.numel() or ids.shape[1] > longest:
        raise ValueError(
            f"reference_ids have shape {tuple(ids.shape)} and type {ids.dtype}: expected whole numbers (batch, tokens), "
            f"1 to {longest} tokens"
        )
    if ids.min() < 0 or ids.max() >= vocabulary:
        raise ValueError(
            f"reference_ids go from {int(ids.min())} to {int(ids.max())}: the model's vocabulary is 0 to {vocabulary - 1}"
        )
    if logits is not None and logits.shape != (*ids.shape, vocabulary):
        raise ValueError(
            f"reference_logits have shape {tuple(logits.shape)}: expected (batch, tokens, vocabulary) = "
            f"{(*ids.shape, vocabulary)}"
        )
    return Reference(ids.detach().to("cpu", torch.int64), None if logits is None else logits.detach().cpu())


def _longest(model: PreTrainedModel) -> int:
    return int(getattr(model.config, "max_position_embeddings", MAX_TOKENS))
