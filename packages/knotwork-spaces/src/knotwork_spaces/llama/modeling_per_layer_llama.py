"""Llama, Mistral and Qwen3 whose layers choose their heads and MLP width alone.

This file travels with an exported model (``trust_remote_code=True`` loads it): it imports transformers, and ``copy``.
"""

import copy
from typing import Any

from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)
from transformers.models.llama.modeling_llama import LlamaDecoderLayer
from transformers.models.mistral.modeling_mistral import MistralDecoderLayer
from transformers.models.qwen3.modeling_qwen3 import Qwen3DecoderLayer


class PerLayerLlamaConfig(LlamaConfig):
    """Llama's configuration with one number of heads, of key-value heads and of MLP units a layer.

    ``num_attention_heads``, ``num_key_value_heads`` and ``intermediate_size`` hold the first layer's, for code that asks for
    one number.
    """

    model_type = "per_layer_llama"

    heads_per_layer: list[int] | None = None
    kv_heads_per_layer: list[int] | None = None
    intermediate_per_layer: list[int] | None = None


class PerLayerMistralConfig(MistralConfig):
    """The same of Mistral."""

    model_type = "per_layer_mistral"

    heads_per_layer: list[int] | None = None
    kv_heads_per_layer: list[int] | None = None
    intermediate_per_layer: list[int] | None = None


class PerLayerQwen3Config(Qwen3Config):
    """The same of Qwen3."""

    model_type = "per_layer_qwen3"

    heads_per_layer: list[int] | None = None
    kv_heads_per_layer: list[int] | None = None
    intermediate_per_layer: list[int] | None = None


class PerLayerLlamaForCausalLM(LlamaForCausalLM):
    """``LlamaForCausalLM`` with layers of the sizes that the configuration lists, under the same parameter names."""

    config_class = PerLayerLlamaConfig

    def __init__(self, config: PerLayerLlamaConfig) -> None:
        super().__init__(config)
        _build_layers(self, LlamaDecoderLayer)


class PerLayerMistralForCausalLM(MistralForCausalLM):
    """The same of ``MistralForCausalLM``."""

    config_class = PerLayerMistralConfig

    def __init__(self, config: PerLayerMistralConfig) -> None:
        super().__init__(config)
        _build_layers(self, MistralDecoderLayer)


class PerLayerQwen3ForCausalLM(Qwen3ForCausalLM):
    """The same of ``Qwen3ForCausalLM``."""

    config_class = PerLayerQwen3Config

    def __init__(self, config: PerLayerQwen3Config) -> None:
        super().__init__(config)
        _build_layers(self, Qwen3DecoderLayer)


def _build_layers(model: Any, layer_class: Any) -> None:
    """Put layers of their own sizes in the place of the model's."""
    config = model.config
    heads, kv_heads = config.heads_per_layer or [], config.kv_heads_per_layer or []
    inner = config.intermediate_per_layer or []
    if not len(heads) == len(kv_heads) == len(inner) == config.num_hidden_layers:
        raise ValueError(
            f"heads_per_layer {heads}, kv_heads_per_layer {kv_heads} and intermediate_per_layer {inner} must each name "
            f"{config.num_hidden_layers} layers (num_hidden_layers)"
        )
    for number in range(config.num_hidden_layers):
        sizes = copy.copy(config)
        sizes.num_attention_heads, sizes.num_key_value_heads = heads[number], kv_heads[number]
        sizes.intermediate_size = inner[number]
        layer = layer_class(sizes, layer_idx=number)
        # The attention reads the backend from its configuration, which may be changed after loading.
        layer.self_attn.config = config
        model.model.layers[number] = layer
    model.post_init()
