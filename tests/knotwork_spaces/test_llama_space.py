"""What a Llama space refuses, what its configurations say, and its presets."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from knotwork_spaces import load_space, presets_of, space_definition, space_from_dict
from knotwork_spaces.llama import (
    LlamaSpace,
    PerLayerLlamaConfig,
    PerLayerMistralConfig,
    PerLayerQwen3Config,
)
from transformers import LlamaConfig, MistralConfig, Qwen3Config

from .llama_cases import CASES, GRANULARITIES, cases, granularities, tiny_llama

CONFIGS = {
    "llama": (LlamaConfig, PerLayerLlamaConfig),
    "mistral": (MistralConfig, PerLayerMistralConfig),
    "qwen3": (Qwen3Config, PerLayerQwen3Config),
}
PER_LAYER = r"\['num_kv_heads', 'heads_per_group', 'intermediate_size'\]"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embed_dim": [6, 20]}, r"embed_dim 20 is not divisible by 3 attention heads .*set model_type to mistral"),
        ({"heads_per_group": [1, 4]}, r"embed_dim 6 is not divisible by 4 attention heads"),
        ({"head_dim": [3, 6]}, r"head_dim 3 is odd: .*even widths"),
        ({"head_dim": [4, 6]}, r"head_dim 4 does not divide the largest, 6: .*change head_dim \[4, 6\]"),
        ({"embed_dim": [6.5]}, r"'embed_dim' has the option 6.5: it must be a whole number"),
        ({"num_kv_heads": [1.5]}, r"'num_kv_heads' has the option 1.5: it must be a whole number"),
        ({"intermediate_size": [0.5, 8]}, r"'intermediate_size' has the option 0.5: it must be a whole number"),
        ({"depth": [1.5]}, r"'depth' must be one whole number for the net"),
        ({"depth": []}, r"'depth' has no options"),
        ({"head_dim": []}, r"'head_dim' has no options"),
        ({"intermediate_size": [8, 3]}, r"'intermediate_size' has options \[8, 3\]: they must be distinct, ascending"),
        ({"per_layer": ["embed_dim"]}, rf"'embed_dim' cannot be made per layer: only {PER_LAYER} can"),
        ({"per_layer": ["head_dim"]}, r"'head_dim' cannot be made per layer"),
        ({"per_layer": ["depth"]}, r"'depth' cannot be made per layer"),
        ({"model_type": "gemma"}, r"unknown model_type 'gemma': known are \['llama', 'mistral', 'qwen3'\]"),
        ({"model_type": ["llama"]}, r"unknown model_type \['llama'\]"),
        ({"vocab_size": 0}, r"vocab_size is 0: it must be a positive whole number"),
        ({"block_size": 8.0}, r"block_size is 8.0: it must be a positive whole number"),
        ({"max_position_embeddings": 0}, r"max_position_embeddings is 0: it must be a positive whole number"),
        ({"max_position_embeddings": 6}, r"max_position_embeddings 6 is less than block_size 7"),
        ({"tie_word_embeddings": 1}, r"tie_word_embeddings is 1: it must be true or false"),
        ({"eos_token_id": 13}, r"eos_token_id is 13: it must be a token of the vocabulary of 13, or None"),
        ({"rope_theta": 0}, r"rope_theta is 0: it must be positive and below 1e\+12"),
        ({"rope_theta": "10000"}, r"rope_theta is '10000': it must be positive"),
        ({"rope_theta": 10**400}, r"rope_theta is 1000.*: it must be positive and below"),
        ({"rms_norm_eps": -1e-6}, r"rms_norm_eps is -1e-06: it must be positive and below 1"),
        ({"initializer_range": float("nan")}, r"initializer_range is nan: it must be positive and below 1"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_impossible_spaces_are_refused_when_they_are_built(changes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        tiny_llama(**changes)


@pytest.mark.parametrize("model_type", ["mistral", "qwen3"])
def test_widths_that_no_head_count_divides_are_for_those_whose_configuration_takes_them(model_type: str):
    space = tiny_llama(embed_dim=[5, 7], heads_per_group=[4], model_type=model_type)
    config = space.config(space.largest)
    assert (config.hidden_size, config.num_attention_heads, config.head_dim) == (7, 12, 4)


@granularities
@cases
def test_configurations_are_stock_where_layers_agree(case: str, granularity: str):
    space = tiny_llama(GRANULARITIES[granularity], eos_token_id=5, max_position_embeddings=9, **CASES[case])
    stock, per_layer = CONFIGS[space.model_type]
    config: Any = space.config(space.largest)
    assert type(config) is stock
    sizes = (config.vocab_size, config.max_position_embeddings, config.hidden_size, config.num_hidden_layers)
    assert sizes == (13, 9, 24, 3)
    heads = (config.num_attention_heads, config.num_key_value_heads, config.head_dim, config.intermediate_size)
    assert heads == (6, 3, space["head_dim"].options[-1], 20)
    assert (config.bos_token_id, config.eos_token_id, config.tie_word_embeddings) == (5, 5, space.tie_word_embeddings)
    assert config.rope_parameters == {"rope_type": "default", "rope_theta": 10000.0}
    assert getattr(config, "sliding_window", None) is None
    assert (config.hidden_act, config.rms_norm_eps, config.attention_dropout) == ("silu", 1e-2, 0.0)
    if granularity == "per_layer":
        mixed = space.architecture({**space.largest.as_dict(), "num_kv_heads": [1, 3, 3]})
        assert type(space.config(mixed)) is per_layer


@granularities
@cases
def test_a_space_survives_its_dictionary(case: str, granularity: str):
    space = tiny_llama(GRANULARITIES[granularity], eos_token_id=3, **CASES[case])
    values = json.loads(json.dumps(space.as_dict()))
    assert values == space.as_dict()
    restored = space_from_dict(values)
    assert type(restored) is LlamaSpace
    assert restored == space


FILE: dict[str, Any] = {
    "family": "llama",
    "embed_dim": [8, 16],
    "depth": [1, 2],
    "num_kv_heads": {"options": [1, 2], "granularity": "per_layer"},
    "heads_per_group": [1, 2],
    "head_dim": [4],
    "intermediate_size": [8, 20],
}


def test_a_file_defines_a_space():
    space: Any = space_definition({**FILE, "model_type": "qwen3", "recipe": {"max_steps": 3}}).build(vocab_size=11)
    assert isinstance(space, LlamaSpace)
    assert (space.model_type, space.vocab_size, space["num_kv_heads"].layers) == ("qwen3", 11, 2)
    assert list(space.choice_names) == [choice.name for choice in space]
    with pytest.raises(ValueError, match=r"a llama space does not fit these settings: .*'dropout'"):
        space_definition({**FILE, "dropout": 0.1}).build()
    with pytest.raises(ValueError, match=r"choice 'head_dim' is missing: a llama space needs \['embed_dim', 'depth', 'num_kv"):
        space_definition({name: value for name, value in FILE.items() if name != "head_dim"})


VALUES = st.none() | st.booleans() | st.integers(-9, 10**9) | st.floats() | st.text(max_size=4) | st.lists(st.integers(0, 9))
SETTINGS = ("model_type", "vocab_size", "max_position_embeddings", "rope_theta", "tie_word_embeddings", "eos_token_id")


@settings(max_examples=50, derandomize=True, deadline=None)
@given(changes=st.dictionaries(st.sampled_from([*FILE, *SETTINGS, "else"]), VALUES, max_size=3))
def test_any_definition_gives_a_space_or_a_value_error(changes: dict):
    try:
        space = space_definition({**FILE, **changes}).build()
    except ValueError:
        return
    assert space_from_dict(json.loads(json.dumps(space.as_dict()))) == space


def test_presets():
    assert presets_of("llama") == ["llama-nano", "llama-pretrained", "smollm2-135m"]
    nano, smol = load_space("llama-nano"), load_space("smollm2-135m")
    assert nano.options == {
        "embed_dim": [64, 96, 128],
        "depth": [2, 3, 4],
        "num_kv_heads": [1, 2, 4],
        "heads_per_group": [1, 2],
        "head_dim": [16],
        "intermediate_size": [160, 256, 352],
    }
    assert nano.settings == {"block_size": 128, "tie_word_embeddings": True, "initializer_range": 0.06}
    for definition in (nano, smol):
        assert definition.per_layer == ()
        assert definition.with_granularity("per-layer").per_layer == LlamaSpace.per_layer_choices
        assert {"tokenizer", "max_steps", "batch_size", "learning_rate"} <= set(definition.recipe)
        assert space_from_dict(definition.build().as_dict()) == definition.build()


def test_the_largest_of_smollm2_is_the_published_model():
    """As its ``config.json`` on the Hub says."""
    space: Any = load_space("smollm2-135m").build()
    published = LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=8192,
        rms_norm_eps=1e-5,
        rope_theta=100000,  # pyright: ignore[reportCallIssue] - the name of older files
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
    )
    config = space.config(space.largest)
    differing = {name for name, value in config.to_dict().items() if published.to_dict().get(name) != value}
    assert differing <= {"initializer_range"}
    assert space.block_size == 512
