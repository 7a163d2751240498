"""Extraction of Llamas copies slices and does nothing else; and what the travelling modelling file does."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import torch
from knotwork_spaces.llama import (
    PerLayerLlamaConfig,
    PerLayerLlamaForCausalLM,
    modeling_per_layer_llama,
    plain_model,
    slice_state_dict,
)

from .comparison import some_architectures, token_ids
from .family_checks import assert_extraction_copies, assert_extraction_draws_nothing, assert_whole
from .llama_cases import CASES, GRANULARITIES, spread_llama, tiny_llama

SPACE = tiny_llama(GRANULARITIES["per_layer"])
HEADS = tiny_llama(GRANULARITIES["per_layer"], **CASES["qwen3, untied, head widths"])
spaces = pytest.mark.parametrize("space", [SPACE, HEADS], ids=["llama", "qwen3"])


@spaces
def test_extraction_draws_no_random_numbers(space: Any):
    assert_extraction_draws_nothing(spread_llama(space))


@spaces
def test_extracted_models_share_no_memory(space: Any):
    assert_extraction_copies(spread_llama(space))


@spaces
def test_extracted_models_are_whole(space: Any):
    supernet = spread_llama(space)
    for arch in some_architectures(space):
        model: Any = supernet.extract(arch)
        assert (model.lm_head.weight is model.model.embed_tokens.weight) == space.tie_word_embeddings
        assert_whole(model)
        # What is no weight is as upstream makes it.
        fresh = type(model)(model.config).model.rotary_emb
        assert torch.equal(model.model.rotary_emb.inv_freq, fresh.inv_freq)


@pytest.mark.parametrize("training", [True, False])
def test_extracted_models_train_when_the_supernet_does(training: bool):
    model = spread_llama(SPACE).train(training).extract(SPACE.smallest)
    assert all(module.training is training for module in model.modules())


@spaces
def test_slices_are_contiguous_copies_that_a_plain_model_loads(space: Any):
    state = slice_state_dict(space, spread_llama(space).state_dict(), space.smallest)
    assert all(tensor.is_contiguous() and not tensor.requires_grad for tensor in state.values())
    fresh = plain_model(space, space.smallest)
    assert {name: tensor.shape for name, tensor in fresh.state_dict().items()} == {n: t.shape for n, t in state.items()}


def test_an_architecture_of_another_space_is_refused():
    stranger = tiny_llama(embed_dim=[12]).smallest
    for use in (spread_llama(SPACE).extract, SPACE.config, lambda arch: spread_llama(SPACE).logits(token_ids(SPACE), arch)):
        with pytest.raises(ValueError, match=r"'embed_dim' cannot be 12: allowed are \[6, 18, 24\]"):
            use(stranger)


def test_the_modelling_file_travels_alone():
    tree = ast.parse(Path(modeling_per_layer_llama.__file__).read_text(encoding="utf-8"))
    roots: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            roots |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import does not resolve in an exported folder"
            roots.add((node.module or "").split(".")[0])
    assert roots <= {"copy", "torch", "transformers", "typing"}


@pytest.mark.parametrize(
    ("heads", "kv_heads", "inner"),
    [(None, None, None), ([2], [1, 1], [8, 8]), ([2, 2], [1], [8, 8]), ([2, 2], [1, 1], [8, 8, 8]), ([2, 2], None, [8, 8])],
    ids=str,
)
def test_lists_of_another_length_are_refused(heads: Any, kv_heads: Any, inner: Any):
    sizes = {"vocab_size": 5, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 8}
    lists = {"heads_per_layer": heads, "kv_heads_per_layer": kv_heads, "intermediate_per_layer": inner}
    with pytest.raises(ValueError, match=r"heads_per_layer .* must each name 2 layers \(num_hidden_layers\)"):
        PerLayerLlamaForCausalLM(PerLayerLlamaConfig(**sizes, **lists))


def test_per_layer_configuration_names_every_layer():
    sizes = {"num_kv_heads": [3, 1, 3], "heads_per_group": [2, 2, 1], "intermediate_size": [8, 3, 20]}
    config = SPACE.config(SPACE.architecture({**SPACE.largest.as_dict(), **sizes}))
    assert isinstance(config, PerLayerLlamaConfig)
    assert (config.heads_per_layer, config.kv_heads_per_layer) == ([6, 2, 3], [3, 1, 3])
    assert config.intermediate_per_layer == [8, 3, 20]
    assert (config.num_attention_heads, config.num_key_value_heads, config.intermediate_size) == (6, 3, 8)


@pytest.mark.parametrize("model_type", ["llama", "mistral", "qwen3"])
def test_a_per_layer_model_starts_like_a_stock_one(model_type: str):
    space = tiny_llama(
        ["intermediate_size"], embed_dim=[60], depth=[2], head_dim=[16], intermediate_size=[64, 96], model_type=model_type
    )
    stock, mixed = (
        plain_model(space, space.architecture({**space.largest.as_dict(), "intermediate_size": sizes}))
        for sizes in ([96, 96], [96, 64])
    )
    assert type(stock) is not type(mixed)
    scales = {name: parameter.std().item() for name, parameter in stock.named_parameters()}
    for name, parameter in mixed.named_parameters():
        if parameter.dim() == 2:
            assert parameter.std().item() == pytest.approx(scales[name], rel=0.1), name
        else:
            assert bool((parameter == 1).all()), name
