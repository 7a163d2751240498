"""The units of a GPT-2 that can be ordered."""

from __future__ import annotations

from typing import Any

import torch

from knotwork_spaces.gpt2._space import GPT2Space
from knotwork_spaces.ordering._units import Layer, Place, Reading, UnitGroup, Units


def units(space: GPT2Space, model: Any) -> Units:
    """Embedding dims, heads, dims within heads and MLP units of the largest architecture, and its layers.

    Queries and keys of a head share an order, values have their own: a head's scores are sums over the first, what it passes on
    goes through the second.
    """
    blocks = len(model.transformer.h)
    groups = [_embedding(space, blocks)]
    for layer in range(blocks):
        groups += [*_within_heads(space, layer), _heads(space, layer), _hidden(model, layer)]
    outputs = ("attn.c_proj.weight", "attn.c_proj.bias", "mlp.c_proj.weight", "mlp.c_proj.bias")
    layers = (Layer(f"transformer.h.{at}", tuple(f"transformer.h.{at}.{name}" for name in outputs)) for at in range(blocks))
    return Units(tuple(groups), tuple(layers))


def _embedding(space: GPT2Space, blocks: int) -> UnitGroup:
    dims = torch.arange(int(space["embed_dim"].options[-1]))[:, None]
    names = {"transformer.wte.weight": 1, "transformer.wpe.weight": 1, "transformer.ln_f.weight": 0, "transformer.ln_f.bias": 0}
    inside = {
        "ln_1.weight": 0, "ln_1.bias": 0, "attn.c_attn.weight": 0, "attn.c_proj.weight": 1, "attn.c_proj.bias": 0,
        "ln_2.weight": 0, "ln_2.bias": 0, "mlp.c_fc.weight": 0, "mlp.c_proj.weight": 1, "mlp.c_proj.bias": 0,
    }  # fmt: skip
    for layer in range(blocks):
        names |= {f"transformer.h.{layer}.{name}": axis for name, axis in inside.items()}
    read = [f"transformer.h.{layer}.{name}" for layer in range(blocks) for name in ("attn.c_attn", "mlp.c_fc")]
    return UnitGroup(
        "embed_dim",
        tuple(Place(name, axis, dims) for name, axis in names.items()),
        tuple(Reading(name, "input", dims) for name in [*read, "lm_head"]),
    )


def _within_heads(space: GPT2Space, layer: int) -> list[UnitGroup]:
    size, heads = int(space["embed_dim"].options[-1]), int(space["num_heads"].options[-1])
    attn, groups = f"transformer.h.{layer}.attn", []
    for head, dims in enumerate(torch.arange(size).view(heads, -1)):
        both = torch.stack([dims, dims + size], 1)
        values = dims[:, None] + 2 * size
        groups += [
            UnitGroup(
                f"{attn}: queries and keys of head {head}",
                (Place(f"{attn}.c_attn.weight", 1, both), Place(f"{attn}.c_attn.bias", 0, both)),
                (Reading(f"{attn}.c_attn", "output", both),),
            ),
            UnitGroup(
                f"{attn}: values of head {head}",
                (
                    Place(f"{attn}.c_attn.weight", 1, values),
                    Place(f"{attn}.c_attn.bias", 0, values),
                    Place(f"{attn}.c_proj.weight", 0, dims[:, None]),
                ),
                (Reading(f"{attn}.c_proj", "input", dims[:, None]),),
            ),
        ]
    return groups


def _heads(space: GPT2Space, layer: int) -> UnitGroup:
    size, heads = int(space["embed_dim"].options[-1]), int(space["num_heads"].options[-1])
    own = torch.arange(size).view(heads, -1)
    joint = torch.cat([own, own + size, own + 2 * size], 1)
    attn = f"transformer.h.{layer}.attn"
    return UnitGroup(
        f"{attn}: heads",
        (
            Place(f"{attn}.c_attn.weight", 1, joint),
            Place(f"{attn}.c_attn.bias", 0, joint),
            Place(f"{attn}.c_proj.weight", 0, own),
        ),
        (Reading(f"{attn}.c_proj", "input", own),),
    )


def _hidden(model: Any, layer: int) -> UnitGroup:
    mlp = f"transformer.h.{layer}.mlp"
    inner = torch.arange(model.transformer.h[layer].mlp.c_fc.nf)[:, None]
    return UnitGroup(
        f"{mlp}: hidden units",
        (Place(f"{mlp}.c_fc.weight", 1, inner), Place(f"{mlp}.c_fc.bias", 0, inner), Place(f"{mlp}.c_proj.weight", 0, inner)),
        (Reading(f"{mlp}.c_proj", "input", inner),),
    )
