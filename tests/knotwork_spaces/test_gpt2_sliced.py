"""Invariant 2 of design.md, section 3: a one-hot mixture, the sliced architecture and the plain upstream model agree."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from knotwork_ops import HardSample
from knotwork_spaces.gpt2 import GPT2Space, PerLayerGPT2LMHeadModel
from transformers import GPT2LMHeadModel

from . import oracle
from .comparison import (
    DTYPES,
    GRANULARITIES,
    assert_all_close,
    assert_close,
    few,
    gradients,
    one_hot,
    option_lists,
    some_architectures,
    spaces,
    spread_supernet,
    tiny_space,
    token_ids,
)
from .family_checks import assert_factors_get_the_chosen_gradient


def assert_one_hot_exact(space: GPT2Space, dtype: torch.dtype, count: int = 3) -> None:
    supernet, ids = spread_supernet(space, dtype), token_ids(space)
    parameters = dict(supernet.named_parameters())
    for arch in some_architectures(space, count):
        sliced = supernet.logits(ids, arch)
        mixed = supernet.logits(ids, one_hot(space, arch, dtype))
        plain = supernet.extract(arch)
        assert_close(sliced, plain(ids).logits, f"sliced {arch} against upstream")
        assert_close(mixed, plain(ids).logits, f"one-hot {arch} against upstream")
        assert_all_close(gradients(sliced, parameters), gradients(mixed, parameters))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_one_hot_sliced_and_upstream_agree(granularity: str, dtype: torch.dtype):
    assert_one_hot_exact(tiny_space(GRANULARITIES[granularity]), dtype)


@few
@given(space=spaces())
def test_one_hot_sliced_and_upstream_agree_in_any_space(space: GPT2Space):
    assert_one_hot_exact(space, torch.float64, count=2)
    assert_one_hot_exact(space, torch.float32, count=1)


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_factors_get_the_gradient_of_the_chosen_option(granularity: str):
    space = tiny_space(GRANULARITIES[granularity])
    supernet, ids = spread_supernet(space), token_ids(space)
    parameters = dict(supernet.named_parameters())
    for arch in some_architectures(space):
        assert_factors_get_the_chosen_gradient(
            supernet, arch, ids, lambda weights: oracle.logits(parameters, ids, option_lists(space), weights)
        )


def test_a_hard_sample_without_factors_is_its_architecture():
    space = tiny_space()
    supernet, ids = spread_supernet(space), token_ids(space)
    assert torch.equal(supernet.logits(ids, HardSample(space.smallest)), supernet.logits(ids, space.smallest))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({"num_heads": 2, "mlp_ratio": 3}, GPT2LMHeadModel),
        ({"num_heads": [2, 2, 2], "mlp_ratio": [3, 3, 3]}, GPT2LMHeadModel),
        ({"num_heads": [2, 4, 2], "mlp_ratio": [3, 3, 3]}, PerLayerGPT2LMHeadModel),
        ({"num_heads": [2, 2, 2], "mlp_ratio": [3, 3, 0.5]}, PerLayerGPT2LMHeadModel),
    ],
)
def test_only_what_differs_between_layers_needs_custom_code(values: dict, kind: type):
    space = tiny_space(GRANULARITIES["per_layer"])
    model = spread_supernet(space).extract(space.architecture({"embed_dim": 16, "depth": 3, **values}))
    assert type(model) is kind


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_either_attention_of_upstream_gives_the_same_logits(implementation: str):
    space = tiny_space(GRANULARITIES["per_layer"])
    supernet, ids = spread_supernet(space), token_ids(space)
    for arch in some_architectures(space, 2):
        model = supernet.extract(arch)
        model.set_attn_implementation(implementation)
        assert model.config._attn_implementation == implementation
        assert_close(supernet.logits(ids, arch), model(ids).logits, str(arch))
