"""A Llama, Mistral or Qwen3 from a checkpoint that transformers can read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knotwork_spaces._causal_lm import load_causal_lm
from knotwork_spaces._pretrained import Pretrained
from knotwork_spaces.llama._upstream import MODELS


def load_pretrained(name_or_folder: str, settings: Mapping[str, Any]) -> Pretrained:
    """A stock checkpoint, of whichever of the three kinds it is; its blocks are the space's ``block_size``, or its own.

    Raises:
        ValueError: a checkpoint that cannot be read, lacks weights or has others, is of another kind, or has fewer positions.
    """
    model = load_causal_lm([stock for stock, _ in MODELS.values()], name_or_folder)
    config = model.config
    longest = config.max_position_embeddings
    block = settings.get("block_size", longest)
    if block > longest:
        raise ValueError(f"block_size is {block}, but {name_or_folder} takes {longest} positions")
    groups = config.num_key_value_heads
    sizes = {
        "embed_dim": config.hidden_size,
        "depth": config.num_hidden_layers,
        "num_kv_heads": groups,
        "heads_per_group": config.num_attention_heads // groups,
        "head_dim": getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,
        "intermediate_size": config.intermediate_size,
    }
    return Pretrained(
        model,
        sizes,
        {
            "model_type": config.model_type,
            "vocab_size": config.vocab_size,
            "block_size": block,
            "max_position_embeddings": longest,
            "rope_theta": config.rope_parameters["rope_theta"],
            "rms_norm_eps": config.rms_norm_eps,
            "tie_word_embeddings": config.tie_word_embeddings,
        },
    )
