"""Cost is exact: the extracted model's own parameters and counted FLOPs, and a true expectation under a mixture."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from knotwork_ops import Mixture
from knotwork_spaces.gpt2 import GPT2Space, gpt2_cost
from torch.utils.flop_counter import FlopCounterMode
from transformers import GPT2LMHeadModel

from .comparison import (
    GRANULARITIES,
    every_architecture,
    few,
    gradients,
    one_hot,
    random_alphas,
    some_architectures,
    spaces,
    spread_supernet,
    tiny_space,
    token_ids,
)


def parameters(model: GPT2LMHeadModel) -> int:
    """``parameters()`` lists a tied weight once."""
    return sum(parameter.numel() for parameter in model.parameters())


def counted_flops(model: GPT2LMHeadModel, space: GPT2Space) -> int:
    model.set_attn_implementation("eager")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(token_ids(space, batch=1))
    return counter.get_total_flops()


def assert_exact(space: GPT2Space) -> None:
    supernet = spread_supernet(space)
    for arch in some_architectures(space):
        model, cost = supernet.extract(arch), supernet.cost(arch)
        assert cost["params"].item() == parameters(model), str(arch)
        assert cost["flops"].item() * space.block_size == counted_flops(model, space), str(arch)
        # A one-hot mixture of lower precision costs the same: counts are kept in float64.
        for name, expected in supernet.cost(one_hot(space, arch, torch.float32)).items():
            assert expected.dtype == torch.float64
            assert expected == cost[name]


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_cost_is_what_the_extracted_model_has(granularity: str):
    assert_exact(tiny_space(GRANULARITIES[granularity]))


@few
@given(space=spaces())
def test_cost_is_what_the_extracted_model_has_in_any_space(space: GPT2Space):
    assert_exact(space)


def test_gpt2_small_has_its_published_size():
    space = GPT2Space.build(embed_dim=[384, 768], depth=[6, 12], num_heads=[6, 12], mlp_ratio=[2, 4])
    assert gpt2_cost(space, space.largest)["params"].item() == 124_439_808


@pytest.mark.parametrize("per_layer", [(), ("mlp_ratio",), ("num_heads",), ("num_heads", "mlp_ratio")], ids=str)
def test_expected_cost_is_the_expectation_over_all_architectures(per_layer: tuple[str, ...]):
    space = tiny_space(per_layer, embed_dim=[8, 16], num_heads=[1, 2], mlp_ratio=[0.5, 3])
    mixture = Mixture(space, {n: alpha.detach().softmax(-1) for n, alpha in random_alphas(space, seed=3).items()})
    expected, total = {"params": 0.0, "flops": 0.0}, 0.0
    for arch, chance in every_architecture(space, mixture):
        total += chance
        for name, cost in gpt2_cost(space, arch).items():
            expected[name] += chance * cost.item()
    assert total == pytest.approx(1, rel=1e-12)
    for name, cost in gpt2_cost(space, mixture).items():
        assert cost.item() == pytest.approx(expected[name], rel=1e-9), name


@few
@given(space=spaces(), seed=st.integers(0, 2**31 - 1))
def test_cost_lies_between_the_smallest_and_the_largest(space: GPT2Space, seed: int):
    alphas = random_alphas(space, torch.float32, seed)
    mixed = gpt2_cost(space, Mixture(space, {name: alpha.softmax(-1) for name, alpha in alphas.items()}))
    least, most = gpt2_cost(space, space.smallest), gpt2_cost(space, space.largest)
    for name, cost in mixed.items():
        assert least[name].item() * (1 - 1e-6) <= cost.item() <= most[name].item() * (1 + 1e-6)


@pytest.mark.parametrize("quantity", ["params", "flops"])
@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_cost_gives_gradients_to_the_mixture_weights(granularity: str, quantity: str):
    space = tiny_space(GRANULARITIES[granularity])
    weights = {n: a.detach().softmax(-1).requires_grad_() for n, a in random_alphas(space, torch.float32).items()}
    found = gradients(gpt2_cost(space, Mixture(space, weights))[quantity], weights, torch.ones(()))
    for name in ("embed_dim", "depth", "mlp_ratio"):
        # A larger option always costs more.
        assert bool((found[name].diff(dim=-1) > 0).all()), name
    # How many heads share a width changes neither parameters nor products.
    assert not found["num_heads"].any()
