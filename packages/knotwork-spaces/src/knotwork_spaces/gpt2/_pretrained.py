"""GPT-2 from a checkpoint that transformers can read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers import GPT2LMHeadModel

from knotwork_spaces._causal_lm import load_causal_lm
from knotwork_spaces._pretrained import Pretrained


def load_pretrained(name_or_folder: str, settings: Mapping[str, Any]) -> Pretrained:
    """A stock GPT-2 checkpoint, its positions cut to the space's ``block_size`` where that is smaller.

    Raises:
        ValueError: a checkpoint that cannot be read, lacks weights or has others, is no GPT-2, or has fewer positions.
    """
    model = load_causal_lm([GPT2LMHeadModel], name_or_folder)
    config = model.config
    block = settings.get("block_size", config.n_positions)
    if block > config.n_positions:
        raise ValueError(f"block_size is {block}, but {name_or_folder} has {config.n_positions} positions")
    if block < config.n_positions:
        with torch.no_grad():
            model.transformer.wpe = nn.Embedding.from_pretrained(model.transformer.wpe.weight[:block].clone(), freeze=False)
        config.n_positions = block
    inner = config.n_inner or 4 * config.n_embd
    sizes = {
        "embed_dim": config.n_embd,
        "depth": config.n_layer,
        "num_heads": config.n_head,
        "mlp_ratio": inner // config.n_embd if inner % config.n_embd == 0 else inner / config.n_embd,
    }
    return Pretrained(model, sizes, {"vocab_size": config.vocab_size, "block_size": block})
