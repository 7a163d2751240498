"""From the supernet to the plain upstream model of one architecture: every tensor is a slice."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from knotwork_ops import Architecture, HeadUnits, hidden_units
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from knotwork_spaces.gpt2._space import GPT2Space
from knotwork_spaces.gpt2.modeling_per_layer_gpt2 import PerLayerGPT2Config, PerLayerGPT2LMHeadModel


def slice_state_dict(space: GPT2Space, state: Mapping[str, Tensor], architecture: Architecture) -> dict[str, Tensor]:
    """The subnet's state dict, with the upstream names, as contiguous copies of the supernet's sub-blocks.

    Args:
        space: the space both belong to.
        state: the supernet's state dict.
        architecture: the subnet.
    """
    size, embed = int(space["embed_dim"].options[-1]), architecture["embed_dim"]
    subnet = {
        "transformer.wte.weight": state["transformer.wte.weight"][:, :embed],
        "transformer.wpe.weight": state["transformer.wpe.weight"][:, :embed],
        "transformer.ln_f.weight": state["transformer.ln_f.weight"][:embed],
        "transformer.ln_f.bias": state["transformer.ln_f.bias"][:embed],
        "lm_head.weight": state["lm_head.weight"][:, :embed],
    }
    for layer, rank in enumerate(space.ranks(architecture["depth"])):
        heads = int(architecture.at("num_heads", rank))
        inner = hidden_units(embed, architecture.at("mlp_ratio", rank))
        joint, single = HeadUnits(size, heads, embed, parts=3), HeadUnits(size, heads, embed)
        block = {name: state[f"transformer.h.{space.layer(rank)}.{name}"] for name in BLOCK_PARAMETERS}
        for name in ("ln_1.weight", "ln_1.bias", "ln_2.weight", "ln_2.bias", "attn.c_proj.bias", "mlp.c_proj.bias"):
            block[name] = block[name][:embed]
        block["attn.c_attn.weight"] = joint.take(block["attn.c_attn.weight"][:embed], 1)
        block["attn.c_attn.bias"] = joint.take(block["attn.c_attn.bias"], 0)
        block["attn.c_proj.weight"] = single.take(block["attn.c_proj.weight"], 0)[:, :embed]
        block["mlp.c_fc.weight"] = block["mlp.c_fc.weight"][:embed, :inner]
        block["mlp.c_fc.bias"] = block["mlp.c_fc.bias"][:inner]
        block["mlp.c_proj.weight"] = block["mlp.c_proj.weight"][:inner, :embed]
        subnet.update({f"transformer.h.{layer}.{name}": value for name, value in block.items()})
    return {name: value.detach().clone(memory_format=torch.contiguous_format) for name, value in subnet.items()}


BLOCK_PARAMETERS = tuple(
    f"{module}.{kind}"
    for module in ("ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj")
    for kind in ("weight", "bias")
)


def plain_model(space: GPT2Space, architecture: Architecture, state: Mapping[str, Tensor] | None = None) -> GPT2LMHeadModel:
    """The plain upstream model of an architecture, freshly initialised, or with a subnet's state dict.

    Returns:
        ``GPT2LMHeadModel`` for a uniform architecture, else ``PerLayerGPT2LMHeadModel``.
    """
    config = space.config(architecture)
    if state is None:
        return _model(config)
    # On the meta device nothing is initialised, so neither time nor the random state is spent on weights to be replaced.
    with torch.device("meta"):
        model = _model(config)
    model.load_state_dict(state, assign=True)
    model.tie_weights()
    return model


def _model(config: GPT2Config) -> GPT2LMHeadModel:
    return PerLayerGPT2LMHeadModel(config) if isinstance(config, PerLayerGPT2Config) else GPT2LMHeadModel(config)
