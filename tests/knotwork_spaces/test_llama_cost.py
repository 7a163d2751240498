"""Cost of Llamas is exact: the extracted model's own parameters and counted FLOPs, and a true expectation under a mixture."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from knotwork_ops import Mixture
from knotwork_spaces import load_space
from knotwork_spaces.llama import LlamaSpace, llama_cost
from torch.utils.flop_counter import FlopCounterMode

from .comparison import every_architecture, few, gradients, one_hot, random_alphas, some_architectures, token_ids
from .llama_cases import CASES, GRANULARITIES, cases, granularities, llama_spaces, spread_llama, tiny_llama


def counted_flops(model: Any, space: LlamaSpace) -> int:
    model.set_attn_implementation("eager")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(token_ids(space, batch=1))
    # Older transformers make the angles of the positions with a matrix product, which is the positions' and not the net's.
    angles = sum(counter.get_flop_counts().get(f"{type(model).__name__}.model.rotary_emb", {}).values())
    return counter.get_total_flops() - angles


def assert_exact(space: LlamaSpace) -> None:
    supernet = spread_llama(space)
    for arch in some_architectures(space):
        model, cost = supernet.extract(arch), supernet.cost(arch)
        # ``parameters()`` lists a tied weight once.
        assert cost["params"].item() == sum(parameter.numel() for parameter in model.parameters()), str(arch)
        assert cost["flops"].item() * space.block_size == counted_flops(model, space), str(arch)
        # A one-hot mixture of lower precision costs the same: counts are kept in float64.
        for name, expected in supernet.cost(one_hot(space, arch, torch.float32)).items():
            assert expected.dtype == torch.float64
            assert expected == cost[name]


@granularities
@cases
def test_cost_is_what_the_extracted_model_has(case: str, granularity: str):
    assert_exact(tiny_llama(GRANULARITIES[granularity], **CASES[case]))


@few
@given(space=llama_spaces())
def test_cost_is_what_the_extracted_model_has_in_any_space(space: LlamaSpace):
    assert_exact(space)


def test_smollm2_has_its_published_size():
    space: Any = load_space("smollm2-135m").build()
    assert llama_cost(space, space.largest)["params"].item() == 134_515_008


@pytest.mark.parametrize("per_layer", [(), ("num_kv_heads",), ("heads_per_group", "intermediate_size")], ids=str)
def test_expected_cost_is_the_expectation_over_all_architectures(per_layer: tuple[str, ...]):
    space = tiny_llama(per_layer, embed_dim=[6, 12], intermediate_size=[3, 8], head_dim=[2, 4], model_type="qwen3")
    mixture = Mixture(space, {n: alpha.detach().softmax(-1) for n, alpha in random_alphas(space, seed=3).items()})
    expected, total = {"params": 0.0, "flops": 0.0}, 0.0
    for arch, chance in every_architecture(space, mixture):
        total += chance
        for name, cost in llama_cost(space, arch).items():
            expected[name] += chance * cost.item()
    assert total == pytest.approx(1, rel=1e-12)
    for name, cost in llama_cost(space, mixture).items():
        assert cost.item() == pytest.approx(expected[name], rel=1e-9), name


@pytest.mark.parametrize("quantity", ["params", "flops"])
@granularities
def test_larger_options_always_cost_more(granularity: str, quantity: str):
    space = tiny_llama(GRANULARITIES[granularity], head_dim=[2, 4])
    weights = {n: a.detach().softmax(-1).requires_grad_() for n, a in random_alphas(space, torch.float32).items()}
    found = gradients(llama_cost(space, Mixture(space, weights))[quantity], weights, torch.ones(()))
    for name, gradient in found.items():
        assert bool((gradient.diff(dim=-1) > 0).all()), name
