"""Invariant 1 of design.md, section 3: a mixture equals the naive sum of zero-padded sub-blocks, gradients included."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from knotwork_ops import Mixture
from knotwork_spaces.gpt2 import GPT2Space
from torch import Tensor

from . import oracle
from .comparison import (
    DTYPES,
    GRANULARITIES,
    assert_all_close,
    assert_close,
    few,
    gradients,
    option_lists,
    random_alphas,
    spaces,
    spread_supernet,
    tiny_space,
    token_ids,
)


def naive(space: GPT2Space, ids: Tensor, parameters: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Tensor:
    return oracle.logits(parameters, ids, option_lists(space), weights, space.layer_order)


def assert_naive_equality(space: GPT2Space, dtype: torch.dtype, *, raw: bool = False, seed: int = 0) -> None:
    """Values, and gradients of every weight and every alpha; what is expected is computed in float64.

    With ``raw`` the alphas are the mixture weights themselves. They do not sum to one, which shows what each of them
    multiplies and what, like the bias of the joint projection, follows no choice.
    """
    ids = token_ids(space, seed=seed)

    def weights_of(alphas: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: 0.5 + 0.1 * alpha if raw else alpha.softmax(-1) for name, alpha in alphas.items()}

    supernet, alphas = spread_supernet(space, dtype, seed), random_alphas(space, dtype, seed)
    value = supernet.logits(ids, Mixture(space, weights_of(alphas)))
    assert value.dtype == dtype
    found = gradients(value, {**dict(supernet.named_parameters()), **alphas})

    parameters, alphas = dict(spread_supernet(space, seed=seed).named_parameters()), random_alphas(space, seed=seed)
    expected = naive(space, ids, parameters, weights_of(alphas))
    assert_close(value, expected, "logits")
    assert_all_close(found, gradients(expected, {**parameters, **alphas}))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_mixture_equals_naive_sum(granularity: str, dtype: torch.dtype):
    assert_naive_equality(tiny_space(GRANULARITIES[granularity]), dtype)


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_weights_that_do_not_sum_to_one(granularity: str):
    assert_naive_equality(tiny_space(GRANULARITIES[granularity]), torch.float64, raw=True)


@few
@given(space=spaces(), seed=st.integers(0, 2**31 - 1))
def test_mixture_equals_naive_sum_in_any_space(space: GPT2Space, seed: int):
    assert_naive_equality(space, torch.float64, seed=seed)
    assert_naive_equality(space, torch.float32, seed=seed)


def test_the_oracle_is_upstream_gpt2_for_the_only_architecture():
    """With one option a choice there is nothing to mix, so the naive sum itself must be transformers' own forward pass."""
    space = tiny_space(embed_dim=[24], depth=[3], num_heads=[4], mlp_ratio=[3])
    supernet, ids = spread_supernet(space), token_ids(space)
    ones = {choice.name: torch.ones(1, dtype=torch.float64) for choice in space}
    expected = supernet.extract(space.largest)(ids).logits
    assert_close(naive(space, ids, dict(supernet.named_parameters()), ones), expected, "logits")


def test_loss_is_the_next_tokens_cross_entropy():
    space = tiny_space()
    supernet, ids = spread_supernet(space), token_ids(space)
    mixture = Mixture(space, {name: alpha.softmax(-1) for name, alpha in random_alphas(space).items()})
    picked = supernet.logits(ids, mixture).log_softmax(-1)[:, :-1].gather(-1, ids[:, 1:, None])
    batch = {"input_ids": ids}
    assert_close(supernet.loss(batch, mixture), -picked.mean(), "loss")
    assert_close(supernet(batch, mixture), -picked.mean(), "the module called")
    assert_close(supernet.metrics(batch, mixture)["loss"], -picked.mean(), "metric")


def test_shorter_sequences_get_the_same_logits():
    """The mask is causal and positions count from the start, so a prefix of the tokens has the prefix of the logits."""
    space = tiny_space()
    supernet, ids = spread_supernet(space), token_ids(space)
    mixture = Mixture(space, {name: alpha.softmax(-1) for name, alpha in random_alphas(space).items()})
    for arch in (mixture, space.smallest):
        assert_close(supernet.logits(ids[:, :3], arch), supernet.logits(ids, arch)[:, :3], "logits")
