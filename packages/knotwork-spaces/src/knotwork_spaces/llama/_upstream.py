"""The plain upstream model of an architecture, and which upstream models a supernet can wrap."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from knotwork_ops import Architecture
from torch import Tensor
from transformers import LlamaForCausalLM, MistralForCausalLM, Qwen3ForCausalLM

from knotwork_spaces.llama._space import CONFIGS, LlamaSpace
from knotwork_spaces.llama.modeling_per_layer_llama import (
    PerLayerLlamaForCausalLM,
    PerLayerMistralForCausalLM,
    PerLayerQwen3ForCausalLM,
)

CausalLM = LlamaForCausalLM | MistralForCausalLM | Qwen3ForCausalLM

MODELS: dict[str, tuple[Any, Any]] = {
    "llama": (LlamaForCausalLM, PerLayerLlamaForCausalLM),
    "mistral": (MistralForCausalLM, PerLayerMistralForCausalLM),
    "qwen3": (Qwen3ForCausalLM, PerLayerQwen3ForCausalLM),
}
"""By upstream's model type: the model of nets whose layers are alike, and of all others."""

SAME_AS_UPSTREAM = (
    "vocab_size",
    "max_position_embeddings",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "intermediate_size",
    "hidden_act",
    "rms_norm_eps",
    "rope_parameters",
    "tie_word_embeddings",
    "attention_bias",
    "mlp_bias",
    "sliding_window",
)
"""What an upstream model must share with the space's largest architecture to compute the same function."""


def plain_model(space: LlamaSpace, architecture: Architecture, state: Mapping[str, Tensor] | None = None) -> CausalLM:
    """The plain upstream model of an architecture, freshly initialised, or with a subnet's state dict.

    Returns:
        ``LlamaForCausalLM``, ``MistralForCausalLM`` or ``Qwen3ForCausalLM`` for a uniform architecture, else its per-layer kin.
    """
    config = space.config(architecture)
    stock, per_layer = MODELS[space.model_type]
    model_class: Any = per_layer if isinstance(config, CONFIGS[space.model_type][1]) else stock
    if state is None:
        return model_class(config)
    # On the meta device nothing is initialised, so neither time nor the random state is spent on weights to be replaced.
    with torch.device("meta"):
        model = model_class(config)
    model.load_state_dict(state, assign=True)
    model.tie_weights()
    # Its wavelengths are no weights, so they are still on the meta device.
    model.model.rotary_emb = type(model.model.rotary_emb)(config).to(model.lm_head.weight.device)
    return model


def check_upstream(space: LlamaSpace, upstream: Any) -> None:
    """Raise ValueError, which names the setting, for a model that is not what the space's largest architecture is."""
    stock, _ = MODELS[space.model_type]
    if type(upstream) is not stock:
        raise ValueError(
            f"the upstream model is a {type(upstream).__name__}: a supernet of model_type {space.model_type!r} wraps a stock "
            f"{stock.__name__}"
        )
    wanted = space.config(space.largest)
    for name in SAME_AS_UPSTREAM:
        given, own = getattr(upstream.config, name, None), getattr(wanted, name, None)
        if given != own:
            raise ValueError(f"the upstream model has {name} {given!r}, but the space's largest architecture {own!r}")
