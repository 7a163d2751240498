"""What a GPT-2 space refuses, and what its configurations say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from knotwork_spaces import space_from_dict
from knotwork_spaces.gpt2 import GPT2Space, PerLayerGPT2Config
from transformers import GPT2Config

from .comparison import GRANULARITIES, tiny_space

OPTIONS: dict[str, Any] = {
    "embed_dim": [8],
    "depth": [1],
    "num_heads": [1],
    "mlp_ratio": [2],
    "vocab_size": 13,
    "block_size": 7,
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"embed_dim": [8, 18]},
            r"embed_dim 18 is not divisible by num_heads 4: .*embed_dim \[8, 18\] or num_heads \[1, 2, 4\]",
        ),
        ({"num_heads": [1, 3]}, r"embed_dim 8 is not divisible by num_heads 3"),
        ({"mlp_ratio": [1, 2.3]}, r"MLP ratio 2.3 of embedding width 8 is 18.* hidden units: not a whole number"),
        ({"mlp_ratio": [1e308]}, r"choice 'mlp_ratio' has an option over 1,000,000,000: 1e\+308"),
        ({"embed_dim": [8.5]}, r"'embed_dim' has the option 8.5: it must be a whole number"),
        ({"num_heads": [1.5]}, r"'num_heads' has the option 1.5: it must be a whole number"),
        ({"depth": [1.5]}, r"'depth' must be one whole number for the net"),
        ({"embed_dim": [16, 8]}, r"'embed_dim' has options \[16, 8\]: they must be distinct, ascending"),
        ({"embed_dim": [8, 8]}, r"'embed_dim' has options \[8, 8\]: they must be distinct, ascending"),
        ({"embed_dim": []}, r"'embed_dim' has no options"),
        ({"depth": []}, r"'depth' has no options"),
        ({"depth": [0, 1]}, r"'depth' has options \[0, 1\]: they must be positive"),
        ({"mlp_ratio": [-1, 1]}, r"'mlp_ratio' has options \[-1, 1\]: they must be positive"),
        ({"mlp_ratio": [float("nan")]}, r"'mlp_ratio' has options \[nan\]: they must be positive"),
        ({"mlp_ratio": [float("inf")]}, r"'mlp_ratio' has options \[inf\]: they must be positive"),
        ({"per_layer": ["embed_dim"]}, r"'embed_dim' cannot be made per layer: only \['num_heads', 'mlp_ratio'\] can"),
        ({"per_layer": ["depth"]}, r"'depth' cannot be made per layer"),
        ({"per_layer": ["width"]}, r"'width' cannot be made per layer"),
        ({"vocab_size": 0}, r"vocab_size is 0: it must be a positive whole number"),
        ({"vocab_size": "50257"}, r"vocab_size is '50257': it must be a positive whole number"),
        ({"block_size": -1}, r"block_size is -1: it must be a positive whole number"),
        ({"block_size": 8.0}, r"block_size is 8.0: it must be a positive whole number"),
        ({"dropout": 1}, r"dropout is 1: it must be at least 0 and below 1"),
        ({"dropout": -0.1}, r"dropout is -0.1: it must be at least 0 and below 1"),
        ({"dropout": float("nan")}, r"dropout is nan: it must be at least 0 and below 1"),
    ],
    ids=str,
)
def test_impossible_spaces_are_refused_when_they_are_built(changes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        tiny_space(**changes)


@pytest.mark.parametrize(
    ("name", "value"), [("vocab_size", True), ("block_size", True), ("eos_token_id", "x"), ("eos_token_id", 13)], ids=str
)
def test_more_settings_that_should_be_refused(name: str, value: object):
    with pytest.raises(ValueError, match=f"{name} is {value!r}"):
        GPT2Space.build(**{**OPTIONS, name: value})


@pytest.mark.parametrize("name", ["embed_dim", "mlp_ratio"])
def test_huge_options_are_refused(name: str):
    with pytest.raises(ValueError, match="10000"):
        GPT2Space.build(**{**OPTIONS, name: [10**400]})


def test_ratios_with_a_rounding_error_still_count_whole_units():
    space = tiny_space(embed_dim=[40], mlp_ratio=[4.1])
    assert space.config(space.largest).n_inner == 164


def test_uniform_configuration_is_stock_gpt2():
    space = tiny_space(eos_token_id=5)
    config = space.config(space.architecture({"embed_dim": 16, "depth": 3, "num_heads": 2, "mlp_ratio": 1.25}))
    assert type(config) is GPT2Config
    sizes = (config.vocab_size, config.n_positions, config.n_embd, config.n_layer, config.n_head, config.n_inner)
    assert sizes == (13, 7, 16, 3, 2, 20)
    assert (config.bos_token_id, config.eos_token_id) == (5, 5)


def test_per_layer_space_gives_stock_gpt2_where_layers_agree():
    space = tiny_space(GRANULARITIES["per_layer"])
    assert type(space.config(space.largest)) is GPT2Config
    mixed = space.architecture({"embed_dim": 8, "depth": 3, "num_heads": [1, 1, 2], "mlp_ratio": 3})
    assert type(space.config(mixed)) is PerLayerGPT2Config


@pytest.mark.parametrize("per_layer", [(), ("num_heads",), ("mlp_ratio",), ("num_heads", "mlp_ratio")], ids=str)
def test_a_space_survives_its_dictionary(per_layer: tuple[str, ...]):
    space = tiny_space(per_layer, eos_token_id=3, dropout=0.1)
    values = json.loads(json.dumps(space.as_dict()))
    assert values == space.as_dict()
    restored = space_from_dict(values)
    assert type(restored) is GPT2Space
    assert restored == space


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1], r"a stored space has a family and choices, not \[1\]"),
        ({"family": "gpt2"}, r"a stored space has a family and choices, not .*gpt2"),
        ({"family": "gpt2", "choices": [1]}, r"a stored space has a family and choices"),
        ({"family": "gpt2", "choices": {"depth": 3}}, r"choice 'depth' of a stored space has options and layers, not 3"),
        ({"choices": {}}, r"must name its family, such as 'family: gpt2', not None"),
        ({"family": "bert", "choices": {}}, r"unknown family 'bert': known are \['gpt2', 'llama', 'toy-cell', 'vit'\]"),
        ({**tiny_space().as_dict(), "heads": 3}, r"does not fit these settings: .*'heads'"),
    ],
    ids=str,
)
def test_what_is_not_a_stored_space_is_refused(values: object, message: str):
    with pytest.raises(ValueError, match=message):
        space_from_dict(values)  # type: ignore[arg-type]


def test_a_stored_space_with_other_layers_is_refused():
    values = tiny_space(GRANULARITIES["per_layer"]).as_dict()
    values["choices"]["num_heads"]["layers"] = 7
    with pytest.raises(ValueError, match=r"'num_heads' is made in 7 layers, but the largest depth is 3"):
        space_from_dict(values)
