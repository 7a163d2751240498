"""Where shallower nets keep other layers than the first, the invariants of design.md hold as well."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from knotwork_spaces import space_from_dict
from knotwork_spaces.gpt2 import GPT2Space
from knotwork_spaces.vit import ViTSupernet

from . import oracle
from .comparison import (
    GRANULARITIES,
    assert_close,
    few,
    one_hot,
    option_lists,
    some_architectures,
    spread_supernet,
    tiny_space,
    token_ids,
)
from .family_checks import assert_factors_get_the_chosen_gradient
from .llama_cases import GRANULARITIES as LLAMA_GRANULARITIES
from .llama_cases import exact_norms, spread_llama, tiny_llama
from .test_gpt2_naive import assert_naive_equality
from .test_gpt2_sliced import assert_one_hot_exact
from .vit_cases import images, spread, tiny_vit

ORDER = (2, 0, 1)
granularities = pytest.mark.parametrize("granularity", GRANULARITIES)


@granularities
def test_mixture_equals_naive_sum(granularity: str):
    assert_naive_equality(tiny_space(GRANULARITIES[granularity], layer_order=ORDER), torch.float64)
    assert_naive_equality(tiny_space(GRANULARITIES[granularity], layer_order=ORDER), torch.float64, raw=True)


@few
@given(order=st.permutations(range(4)), depth=st.sets(st.integers(1, 3), max_size=2), seed=st.integers(0, 2**31 - 1))
def test_any_order_of_any_depths(order: list[int], depth: set[int], seed: int):
    space = tiny_space(("mlp_ratio",), depth=[*sorted(depth), 4], layer_order=tuple(order))
    assert_naive_equality(space, torch.float64, seed=seed)
    assert_one_hot_exact(space, torch.float64, count=2)


@granularities
def test_one_hot_sliced_and_upstream_agree(granularity: str):
    assert_one_hot_exact(tiny_space(GRANULARITIES[granularity], layer_order=ORDER), torch.float64)


@granularities
def test_factors_get_the_gradient_of_the_chosen_option(granularity: str):
    space = tiny_space(GRANULARITIES[granularity], layer_order=ORDER)
    supernet, ids = spread_supernet(space), token_ids(space)
    parameters = dict(supernet.named_parameters())
    for arch in some_architectures(space):
        assert_factors_get_the_chosen_gradient(
            supernet, arch, ids, lambda weights: oracle.logits(parameters, ids, option_lists(space), weights, ORDER)
        )


def test_a_depth_keeps_the_layers_that_come_first_in_the_order():
    space = tiny_space(depth=[1, 2, 3], layer_order=ORDER)
    supernet = spread_supernet(space)
    state = supernet.state_dict()
    for depth, kept in ((1, [2]), (2, [0, 2]), (3, [0, 1, 2])):
        arch = space.architecture({**space.largest.as_dict(), "depth": depth})
        model: Any = supernet.extract(arch)
        assert len(model.transformer.h) == depth
        for block, layer in zip(model.transformer.h, kept, strict=True):
            assert torch.equal(block.ln_1.weight, state[f"transformer.h.{layer}.ln_1.weight"])


def test_what_is_chosen_per_layer_follows_the_order():
    space = tiny_space(("num_heads",), depth=[1, 2, 3], layer_order=ORDER)
    arch = space.architecture({"embed_dim": 8, "depth": 2, "num_heads": [4, 1], "mlp_ratio": 3})
    assert space.layer_heads(arch) == [1, 4]  # layer 0 is second in the order, layer 2 first
    assert space.config(arch).heads_per_layer == [1, 4]


@granularities
def test_vits_are_ordered_the_same_way(granularity: str):
    space = tiny_vit(GRANULARITIES[granularity], depth=[1, 2, 3], layer_order=ORDER)
    supernet = ViTSupernet(space).eval()
    spread(supernet)
    supernet.double()
    inputs = images(space)
    for arch in some_architectures(space):
        plain = supernet.extract(arch)
        assert_close(supernet.logits(inputs, arch), plain(inputs), f"sliced {arch} against timm")
        assert_close(supernet.logits(inputs, one_hot(space, arch)), plain(inputs), f"one-hot {arch} against timm")


@pytest.mark.parametrize("granularity", LLAMA_GRANULARITIES)
def test_llamas_are_ordered_the_same_way(granularity: str):
    space = tiny_llama(LLAMA_GRANULARITIES[granularity], depth=[1, 2, 3], layer_order=ORDER)
    supernet, ids = spread_llama(space), token_ids(space)
    for arch in some_architectures(space):
        with exact_norms():
            plain = supernet.extract(arch)(ids).logits
        assert_close(supernet.logits(ids, arch), plain, f"sliced {arch} against upstream")
        assert_close(supernet.logits(ids, one_hot(space, arch)), plain, f"one-hot {arch} against upstream")


def test_a_space_keeps_its_order_in_its_description():
    space = tiny_space(layer_order=[1, 2, 0])
    assert space.layer_order == (1, 2, 0)
    assert space_from_dict(space.as_dict()) == space
    assert space_from_dict(tiny_space().as_dict()) == tiny_space()
    assert tiny_space().layer_order is None


@pytest.mark.parametrize("order", [(0, 1), (0, 1, 1), (1, 2, 3), "012", 3, (0, 1, 2.0), (True, 1, 2)])
def test_an_order_names_every_layer_once(order: Any):
    with pytest.raises(ValueError, match="layer_order"):
        tiny_space(layer_order=order)


def test_costs_do_not_depend_on_the_order():
    plain = tiny_space(("mlp_ratio",))
    space: GPT2Space = tiny_space(("mlp_ratio",), layer_order=ORDER)
    for arch in some_architectures(space):
        same = plain.architecture(arch.as_dict())
        costs = [spread_supernet(s).cost(a) for s, a in ((space, arch), (plain, same))]
        assert costs[0] == costs[1]
