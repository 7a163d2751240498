"""The units of a Llama that can be ordered."""

from __future__ import annotations

from typing import Any

import torch

from knotwork_spaces.llama._space import LlamaSpace
from knotwork_spaces.ordering._units import Layer, Place, Reading, UnitGroup, Units


def units(space: LlamaSpace, model: Any) -> Units:
    """Embedding dims, groups, query heads within groups, value dims and MLP units of the largest architecture, and its layers.

    Queries and keys keep their dims: the rotary embedding gives every pair of them a wavelength by its place, so another order
    would be another function.
    """
    groups, blocks = [_embedding(model)], len(model.model.layers)
    for layer in range(blocks):
        groups += [*_within_groups(space, layer), _groups(space, layer), _hidden(space, layer)]
    names = ("self_attn.o_proj.weight", "mlp.down_proj.weight")
    layers = (Layer(f"model.layers.{at}", tuple(f"model.layers.{at}.{name}" for name in names)) for at in range(blocks))
    return Units(tuple(groups), tuple(layers))


def _embedding(model: Any) -> UnitGroup:
    """Every parameter but the norms of queries and keys: tables and inputs have the embedding last, outputs first."""
    dims = torch.arange(model.config.hidden_size)[:, None]
    places = []
    for name, parameter in model.named_parameters():
        part = name.split(".")[-2]
        if part not in ("q_norm", "k_norm"):
            places.append(Place(name, 0 if part in ("o_proj", "down_proj") else parameter.dim() - 1, dims))
    inputs = ("self_attn.q_proj", "mlp.gate_proj")
    read = [f"model.layers.{layer}.{name}" for layer in range(len(model.model.layers)) for name in inputs]
    return UnitGroup("embed_dim", tuple(places), tuple(Reading(name, "input", dims) for name in [*read, "lm_head"]))


def _sizes(space: LlamaSpace) -> tuple[int, int, int]:
    groups, members, width = (int(space[name].options[-1]) for name in ("num_kv_heads", "heads_per_group", "head_dim"))
    return groups, members, width


def _within_groups(space: LlamaSpace, layer: int) -> list[UnitGroup]:
    """The query heads of each group, and the dims of its values, which lie in the outputs of all its heads."""
    groups, members, width = _sizes(space)
    attn, found = f"model.layers.{layer}.self_attn", []
    queries = torch.arange(groups * members * width).view(groups, members, width)
    values = torch.arange(groups * width).view(groups, width)
    for group in range(groups):
        heads, dims = queries[group], queries[group].t()
        found += [
            UnitGroup(
                f"{attn}: values of group {group}",
                (Place(f"{attn}.v_proj.weight", 0, values[group][:, None]), Place(f"{attn}.o_proj.weight", 1, dims)),
                (Reading(f"{attn}.o_proj", "input", dims),),
            ),
            UnitGroup(
                f"{attn}: heads of group {group}",
                (Place(f"{attn}.q_proj.weight", 0, heads), Place(f"{attn}.o_proj.weight", 1, heads)),
                (Reading(f"{attn}.o_proj", "input", heads),),
            ),
        ]
    return found


def _groups(space: LlamaSpace, layer: int) -> UnitGroup:
    groups, members, width = _sizes(space)
    attn = f"model.layers.{layer}.self_attn"
    queries, keys = torch.arange(groups * members * width).view(groups, -1), torch.arange(groups * width).view(groups, -1)
    return UnitGroup(
        f"{attn}: groups",
        (
            Place(f"{attn}.q_proj.weight", 0, queries),
            Place(f"{attn}.k_proj.weight", 0, keys),
            Place(f"{attn}.v_proj.weight", 0, keys),
            Place(f"{attn}.o_proj.weight", 1, queries),
        ),
        (Reading(f"{attn}.o_proj", "input", queries),),
    )


def _hidden(space: LlamaSpace, layer: int) -> UnitGroup:
    mlp, inner = f"model.layers.{layer}.mlp", torch.arange(int(space["intermediate_size"].options[-1]))[:, None]
    places = Place(f"{mlp}.gate_proj.weight", 0, inner), Place(f"{mlp}.up_proj.weight", 0, inner)
    return UnitGroup(
        f"{mlp}: hidden units",
        (*places, Place(f"{mlp}.down_proj.weight", 1, inner)),
        (Reading(f"{mlp}.down_proj", "input", inner),),
    )
