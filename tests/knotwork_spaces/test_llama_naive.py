"""Invariant 1 of design.md, section 3, for Llamas: a mixture equals the naive sum of zero-padded sub-blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from knotwork_ops import Mixture
from knotwork_spaces.llama import LlamaSpace
from torch import Tensor

from . import llama_oracle
from .comparison import (
    DTYPES,
    assert_all_close,
    assert_close,
    few,
    gradients,
    option_lists,
    random_alphas,
    token_ids,
)
from .llama_cases import CASES, GRANULARITIES, cases, exact_norms, granularities, llama_spaces, spread_llama, tiny_llama


def naive(space: LlamaSpace, ids: Tensor, parameters: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Tensor:
    settings = llama_oracle.Settings(space.rms_norm_eps, space.rope_theta, space.model_type == "qwen3")
    return llama_oracle.logits(parameters, ids, option_lists(space), weights, settings)


def assert_naive_equality(space: LlamaSpace, dtype: torch.dtype, *, raw: bool = False, seed: int = 0) -> None:
    """Values, and gradients of every weight and every alpha; what is expected is computed in float64.

    With ``raw`` the alphas are the mixture weights themselves, which do not sum to one.
    """
    ids = token_ids(space, seed=seed)

    def weights_of(alphas: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: 0.5 + 0.1 * alpha if raw else alpha.softmax(-1) for name, alpha in alphas.items()}

    supernet, alphas = spread_llama(space, dtype, seed), random_alphas(space, dtype, seed)
    value = supernet.logits(ids, Mixture(space, weights_of(alphas)))
    assert value.dtype == dtype
    found = gradients(value, {**dict(supernet.named_parameters()), **alphas})

    parameters, alphas = dict(spread_llama(space, seed=seed).named_parameters()), random_alphas(space, seed=seed)
    expected = naive(space, ids, parameters, weights_of(alphas))
    assert_close(value, expected, "logits")
    assert_all_close(found, gradients(expected, {**parameters, **alphas}))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@granularities
@cases
def test_mixture_equals_naive_sum(case: str, granularity: str, dtype: torch.dtype):
    assert_naive_equality(tiny_llama(GRANULARITIES[granularity], **CASES[case]), dtype)


@granularities
def test_weights_that_do_not_sum_to_one(granularity: str):
    space = tiny_llama(GRANULARITIES[granularity], **CASES["qwen3, untied, head widths"])
    assert_naive_equality(space, torch.float64, raw=True)


@few
@given(space=llama_spaces(), seed=st.integers(0, 2**31 - 1))
def test_mixture_equals_naive_sum_in_any_space(space: LlamaSpace, seed: int):
    assert_naive_equality(space, torch.float64, seed=seed)


@pytest.mark.parametrize("model_type", ["llama", "mistral", "qwen3"])
def test_the_oracle_is_upstream_for_the_only_architecture(model_type: str):
    """With one option a choice there is nothing to mix, so the naive sum itself must be transformers' own forward pass."""
    one: dict[str, Any] = {
        "embed_dim": [24],
        "depth": [3],
        "num_kv_heads": [3],
        "heads_per_group": [2],
        "intermediate_size": [20],
    }
    space = tiny_llama(model_type=model_type, **one)
    supernet, ids = spread_llama(space), token_ids(space)
    ones = {choice.name: torch.ones(1, dtype=torch.float64) for choice in space}
    with exact_norms():
        expected = supernet.extract(space.largest)(ids).logits
    assert_close(naive(space, ids, dict(supernet.named_parameters()), ones), expected, "logits")


def test_loss_is_the_next_tokens_cross_entropy():
    space = tiny_llama()
    supernet, ids = spread_llama(space), token_ids(space)
    mixture = Mixture(space, {name: alpha.softmax(-1) for name, alpha in random_alphas(space).items()})
    picked = supernet.logits(ids, mixture).log_softmax(-1)[:, :-1].gather(-1, ids[:, 1:, None])
    assert_close(supernet.loss({"input_ids": ids}, mixture), -picked.mean(), "loss")
    with pytest.raises(ValueError, match="8 tokens are more than the space's block_size 7"):
        supernet.logits(torch.zeros(1, 8, dtype=torch.int64), mixture)


def test_shorter_sequences_get_the_same_logits():
    space = tiny_llama(**CASES["llama, untied, head widths"])
    supernet, ids = spread_llama(space), token_ids(space)
    mixture = Mixture(space, {name: alpha.softmax(-1) for name, alpha in random_alphas(space).items()})
    for arch in (mixture, space.smallest):
        assert_close(supernet.logits(ids[:, :3], arch), supernet.logits(ids, arch)[:, :3], "logits")


@pytest.mark.parametrize("case", ["llama, untied, head widths", "qwen3, tied"])
def test_autocast_stays_close_to_float32(case: str):
    space = tiny_llama(**CASES[case])
    supernet, ids = spread_llama(space, torch.float32), token_ids(space)
    mixture = Mixture(space, {n: alpha.detach().softmax(-1) for n, alpha in random_alphas(space, torch.float32).items()})
    for arch in (mixture, space.largest):
        expected = supernet.loss({"input_ids": ids}, arch)
        with torch.autocast("cpu", torch.bfloat16):
            loss = supernet.loss({"input_ids": ids}, arch)
        loss.backward()
        torch.testing.assert_close(loss, expected, atol=5e-2, rtol=0)
