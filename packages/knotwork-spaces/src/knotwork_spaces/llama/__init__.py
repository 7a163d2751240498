"""Llama, Mistral and Qwen3: search space, supernet and extraction. Needs transformers: install ``knotwork-spaces[gpt]``."""

try:
    import transformers as _transformers  # noqa: F401
except ImportError as error:  # pragma: no cover - tested in an isolated environment
    raise ImportError("knotwork_spaces.llama needs transformers: pip install 'knotwork-spaces[gpt]'") from error

from knotwork_spaces._language import plain_metrics
from knotwork_spaces.llama._cost import llama_cost
from knotwork_spaces.llama._extract import slice_state_dict
from knotwork_spaces.llama._pretrained import load_pretrained
from knotwork_spaces.llama._space import LlamaSpace
from knotwork_spaces.llama._supernet import LlamaSupernet
from knotwork_spaces.llama._units import units
from knotwork_spaces.llama._upstream import plain_model
from knotwork_spaces.llama.modeling_per_layer_llama import (
    PerLayerLlamaConfig,
    PerLayerLlamaForCausalLM,
    PerLayerMistralConfig,
    PerLayerMistralForCausalLM,
    PerLayerQwen3Config,
    PerLayerQwen3ForCausalLM,
)

__all__ = [
    "LlamaSpace",
    "LlamaSupernet",
    "PerLayerLlamaConfig",
    "PerLayerLlamaForCausalLM",
    "PerLayerMistralConfig",
    "PerLayerMistralForCausalLM",
    "PerLayerQwen3Config",
    "PerLayerQwen3ForCausalLM",
    "llama_cost",
    "load_pretrained",
    "plain_metrics",
    "plain_model",
    "slice_state_dict",
    "units",
]
