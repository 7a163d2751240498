"""A search of a real supernet that diverges names the parameter, the data, or the operation and its layer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from knotwork_search import DivergedError, Search, SearchData, SearchSettings

from . import families

HUGE = 3e38


def told(family: str, weights: Mapping[str, float], *, data: SearchData | None = None, fair: float = 1.0) -> str:
    """What the search of a supernet says, some of whose parameters are filled with a value or have one such entry."""
    AcceleratorState._reset_state(reset_partial_state=True)
    supernet = families.supernet(family)
    parameters = dict(supernet.named_parameters())
    with torch.no_grad():
        for name, value in weights.items():
            target = parameters[name] if math.isfinite(value) else parameters[name].view(-1)[:1]
            target.fill_(value)
    settings = SearchSettings(strategy="drnas", max_steps=12, batch_size=4, fair_share=fair, learning_rate=1e-6)
    accelerator = Accelerator(cpu=True)
    search = Search(supernet, data or families.data(family), settings, accelerator=accelerator)
    with pytest.raises(DivergedError, match="in 10 steps in a row, up to step 9: ") as diverged:
        search.train()
    AcceleratorState._reset_state(reset_partial_state=True)
    return str(diverged.value)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("gpt2", "transformer.h.0.mlp.c_fc.weight"),
        ("llama", "model.layers.0.mlp.gate_proj.weight"),
        ("vit", "blocks.0.attn.qkv.bias"),
    ],
)
def test_a_weight_that_is_not_finite_is_named(family: str, name: str, value: float):
    assert f"the parameter {name} holds 1 of" in told(family, {name: value})


@pytest.mark.parametrize("fair", [1.0, 0.0], ids=["sliced", "mixed"])
@pytest.mark.parametrize(
    ("family", "name", "place"),
    [
        ("gpt2", "transformer.h.0.attn.c_attn.weight", "transformer.h.0.attn.c_attn"),
        ("llama", "model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.q_proj"),
        ("vit", "blocks.0.attn.qkv.weight", "blocks.0.attn.qkv"),
        ("vit", "patch_embed.proj.weight", "patch_embed.proj"),
    ],
)
def test_an_operation_that_overflows_is_named_with_its_layer(family: str, name: str, place: str, fair: float):
    message = told(family, {name: HUGE}, fair=fair)
    assert any(f"{word} {place}" in message for word in ("in", "after")), message
    assert "new_empty" not in message


@pytest.mark.parametrize("part", ["weight", "architecture"])
def test_images_that_are_not_finite_are_named_in_either_part_of_the_data(part: str):
    data: Any = families.data("vit")
    for item in getattr(data, part):
        item["image"][0, 0, 0] = math.nan
    assert "the batch's image holds 4 of 256 values that are not finite" in told("vit", {}, data=data, fair=0.0)
