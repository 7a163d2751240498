"""The units of a ViT that can be ordered."""

from __future__ import annotations

from typing import Any

import torch

from knotwork_spaces.ordering._units import Layer, Place, Reading, UnitGroup, Units
from knotwork_spaces.vit._space import ViTSpace

RESIDUAL = ("attn.proj.weight", "attn.proj.bias", "mlp.fc2.weight", "mlp.fc2.bias")


def units(space: ViTSpace, model: Any) -> Units:
    """Embedding dims, heads, dims within heads and MLP units of the largest architecture, and its layers.

    Queries and keys of a head share an order, values have their own.
    """
    groups = [_embedding(model)]
    for layer, block in enumerate(model.blocks):
        heads, size = block.attn.num_heads, block.attn.qkv.out_features // 3
        own = torch.arange(size).view(heads, -1)
        groups += [*_within_heads(model, layer, own, size), _heads(model, layer, own, size), _hidden(model, layer)]
    layers = []
    for layer, block in enumerate(model.blocks):
        names = [name for name in RESIDUAL if name in dict(block.named_parameters())]
        layers.append(Layer(f"blocks.{layer}", tuple(f"blocks.{layer}.{name}" for name in names)))
    return Units(tuple(groups), tuple(layers))


def _embedding(model: Any) -> UnitGroup:
    """Every parameter but those of hidden units: they lie along a table's last dimension, and an output's first."""
    dims = torch.arange(model.embed_dim)[:, None]
    places = []
    for name, parameter in model.named_parameters():
        part = name.split(".", 2)[-1] if name.startswith("blocks.") else name
        if part in ("attn.qkv.bias", "mlp.fc1.bias", "head.bias"):
            continue
        first = part.startswith("patch_embed.") or part in RESIDUAL
        places.append(Place(name, 0 if first else parameter.dim() - 1, dims))
    readings = [f"blocks.{layer}.{name}" for layer in range(len(model.blocks)) for name in ("attn.qkv", "mlp.fc1")]
    return UnitGroup("embed_dim", tuple(places), tuple(Reading(name, "input", dims) for name in [*readings, "head"]))


def _within_heads(model: Any, layer: int, own: torch.Tensor, size: int) -> list[UnitGroup]:
    attn, groups = f"blocks.{layer}.attn", []
    for head, dims in enumerate(own):
        both = torch.stack([dims, dims + size], 1)
        values = dims[:, None] + 2 * size
        groups += [
            UnitGroup(
                f"{attn}: queries and keys of head {head}",
                _present(model, Place(f"{attn}.qkv.weight", 0, both), Place(f"{attn}.qkv.bias", 0, both)),
                (Reading(f"{attn}.qkv", "output", both),),
            ),
            UnitGroup(
                f"{attn}: values of head {head}",
                _present(
                    model,
                    Place(f"{attn}.qkv.weight", 0, values),
                    Place(f"{attn}.qkv.bias", 0, values),
                    Place(f"{attn}.proj.weight", 1, dims[:, None]),
                ),
                (Reading(f"{attn}.proj", "input", dims[:, None]),),
            ),
        ]
    return groups


def _heads(model: Any, layer: int, own: torch.Tensor, size: int) -> UnitGroup:
    attn, joint = f"blocks.{layer}.attn", torch.cat([own, own + size, own + 2 * size], 1)
    places = Place(f"{attn}.qkv.weight", 0, joint), Place(f"{attn}.qkv.bias", 0, joint), Place(f"{attn}.proj.weight", 1, own)
    return UnitGroup(f"{attn}: heads", _present(model, *places), (Reading(f"{attn}.proj", "input", own),))


def _hidden(model: Any, layer: int) -> UnitGroup:
    mlp = f"blocks.{layer}.mlp"
    inner = torch.arange(model.blocks[layer].mlp.fc1.out_features)[:, None]
    places = Place(f"{mlp}.fc1.weight", 0, inner), Place(f"{mlp}.fc1.bias", 0, inner), Place(f"{mlp}.fc2.weight", 1, inner)
    return UnitGroup(f"{mlp}: hidden units", _present(model, *places), (Reading(f"{mlp}.fc2", "input", inner),))


def _present(model: Any, *places: Place) -> tuple[Place, ...]:
    names = dict(model.named_parameters())
    return tuple(place for place in places if place.parameter in names)
