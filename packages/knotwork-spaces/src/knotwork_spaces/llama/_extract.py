"""From the supernet to the weights of one architecture: every tensor is a slice."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from knotwork_ops import Architecture
from torch import Tensor

from knotwork_spaces.llama._heads import GroupUnits
from knotwork_spaces.llama._layout import group_units
from knotwork_spaces.llama._space import LlamaSpace


def slice_state_dict(space: LlamaSpace, state: Mapping[str, Tensor], architecture: Architecture) -> dict[str, Tensor]:
    """The subnet's state dict, with the upstream names, as contiguous copies of the supernet's sub-blocks.

    Args:
        space: the space both belong to.
        state: the supernet's state dict.
        architecture: the subnet.
    """
    embed, subnet = architecture["embed_dim"], {}
    layers = {space.layer(rank): (layer, rank) for layer, rank in enumerate(space.ranks(architecture["depth"]))}
    for name, tensor in state.items():
        if not name.startswith("model.layers."):
            # Token embedding, last norm and head have the embedding last.
            subnet[name] = tensor[..., :embed]
            continue
        stored, part = name.removeprefix("model.layers.").split(".", 1)
        if int(stored) in layers:
            layer, rank = layers[int(stored)]
            inner = int(architecture.at("intermediate_size", rank))
            subnet[f"model.layers.{layer}.{part}"] = _inside(part, tensor, embed, inner, group_units(space, architecture, rank))
    return {name: value.detach().clone(memory_format=torch.contiguous_format) for name, value in subnet.items()}


def _inside(part: str, tensor: Tensor, embed: int, inner: int, units: GroupUnits) -> Tensor:
    match part.split(".")[-2]:
        case "q_proj":
            return units.queries(tensor)[:, :embed]
        case "k_proj":
            return units.keys(tensor)[:, :embed]
        case "v_proj":
            return units.values(tensor)[:, :embed]
        case "o_proj":
            return units.outputs(tensor)[:embed]
        case "q_norm" | "k_norm":
            return units.norm(tensor)
        case "gate_proj" | "up_proj":
            return tensor[:inner, :embed]
        case "down_proj":
            return tensor[:embed, :inner]
        case _:  # the norms before attention and MLP
            return tensor[:embed]
