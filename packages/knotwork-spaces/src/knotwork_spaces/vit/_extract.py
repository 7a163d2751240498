"""From the supernet to the plain timm model of one architecture: every tensor is a slice."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from knotwork_ops import Architecture, HeadUnits, SlicedHeads, SlicedWidth, fixed_head_width, hidden_units
from torch import Tensor

from knotwork_spaces.vit._space import ViTSpace


def slice_state_dict(space: ViTSpace, state: Mapping[str, Tensor], architecture: Architecture) -> dict[str, Tensor]:
    """The subnet's state dict, with timm's names, as contiguous copies of the supernet's sub-blocks.

    Args:
        space: the space both belong to.
        state: the supernet's state dict.
        architecture: the subnet.
    """
    embed, ranks = architecture["embed_dim"], space.ranks(architecture["depth"])
    layers = {space.layer(rank): (layer, rank) for layer, rank in enumerate(ranks)}
    subnet = {}
    for name, tensor in state.items():
        if not name.startswith("blocks."):
            subnet[name] = _outside(name, tensor, embed)
            continue
        _, stored, part = name.split(".", 2)
        if int(stored) in layers:
            layer, rank = layers[int(stored)]
            subnet[f"blocks.{layer}.{part}"] = _inside(part, tensor, space, architecture, rank)
    return {name: value.detach().clone(memory_format=torch.contiguous_format) for name, value in subnet.items()}


def _outside(name: str, tensor: Tensor, embed: int) -> Tensor:
    if name == "head.bias":
        return tensor
    # Tables, norms and the classifier have the embedding last, the patch embedding's filters first.
    return tensor[:embed] if name.startswith("patch_embed.") else tensor[..., :embed]


def _inside(part: str, tensor: Tensor, space: ViTSpace, architecture: Architecture, rank: int) -> Tensor:
    embed = architecture["embed_dim"]
    inner = hidden_units(embed, architecture.at("mlp_ratio", rank))
    if part.startswith("attn."):
        heads = int(architecture.at("num_heads", rank))
        if part == "attn.proj.bias":
            return tensor[:embed]
        if part == "attn.proj.weight":
            return _head_units(space, heads, embed, 1).take(tensor, 1)[:embed]
        rows = _head_units(space, heads, embed, 3).take(tensor, 0)
        return rows[:, :embed] if part == "attn.qkv.weight" else rows
    if part == "mlp.fc1.weight":
        return tensor[:inner, :embed]
    if part == "mlp.fc1.bias":
        return tensor[:inner]
    if part == "mlp.fc2.weight":
        return tensor[:embed, :inner]
    return tensor[:embed]


def _head_units(space: ViTSpace, heads: int, embed: int, parts: int) -> SlicedWidth:
    if space.head_dim is None:
        return SlicedWidth("heads", HeadUnits(int(space["embed_dim"].options[-1]), heads, embed, parts))
    size = int(space["num_heads"].options[-1]) * space.head_dim
    width = fixed_head_width(SlicedHeads(heads), space.head_dim, size, parts)
    assert width is not None
    return width
