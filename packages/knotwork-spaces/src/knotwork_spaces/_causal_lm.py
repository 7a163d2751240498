"""What the families of language models share: how a plain model is read, and its loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoConfig


def plain_metrics(model: Any, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The supernet's metrics of a plain upstream model: ``loss``, the mean next-token cross-entropy in nats.

    Args:
        model: as ``plain_model`` or ``extract`` returns it.
        batch: ``input_ids``: (batch, tokens).
    """
    ids = batch["input_ids"]
    # Autocast runs cross-entropy in float32 whatever the logits' precision.
    return {"loss": F.cross_entropy(model(input_ids=ids[:, :-1]).logits.flatten(0, 1), ids[:, 1:].flatten())}


def load_causal_lm(model_class: Any, name_or_folder: str) -> Any:
    """A checkpoint in float32, every weight of it and none besides; from safetensors alone.

    Args:
        model_class: transformers' class.
        name_or_folder: a folder, or a name on the Hub.

    Raises:
        ValueError: what cannot be read, is another kind of model, or has missing, unexpected or misshapen weights.
    """
    try:
        kind = AutoConfig.from_pretrained(name_or_folder, trust_remote_code=False).model_type
        wanted = model_class.config_class.model_type
        if kind != wanted:
            raise ValueError(f"it is a model of the type {kind!r}, not {wanted!r}")
        model, loading = model_class.from_pretrained(
            name_or_folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True
        )
    except Exception as error:  # the Hub's client, the network, safetensors and transformers have their own
        raise ValueError(f"no {model_class.__name__} could be loaded from {name_or_folder!r}: {error}") from error
    for what in ("missing", "unexpected", "mismatched"):
        names = sorted(map(str, loading[f"{what}_keys"]))
        if names:
            raise ValueError(f"the checkpoint {name_or_folder!r} has {what} weights: {', '.join(names)}")
    return model
