"""Invariant 1 of design.md, section 3, for ViTs: a mixture equals the naive sum of padded sub-blocks, gradients included."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from knotwork_ops import Mixture
from knotwork_spaces.vit import ViTSpace
from torch import Tensor

from . import vit_oracle
from .comparison import (
    DTYPES,
    GRANULARITIES,
    assert_all_close,
    assert_close,
    few,
    gradients,
    option_lists,
    random_alphas,
)
from .vit_cases import KINDS, images, net_of, tiny_vit, upstream_subnet, vit_spaces, vit_supernet

kinds = pytest.mark.parametrize("kind", KINDS)
granularities = pytest.mark.parametrize("granularity", GRANULARITIES)


def naive(space: ViTSpace, image: Tensor, parameters: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Tensor:
    return vit_oracle.logits(parameters, image, option_lists(space), weights, net_of(space))


def assert_naive_equality(space: ViTSpace, *dtypes: torch.dtype, raw: bool = False, seed: int = 0) -> None:
    """Values, and gradients of every weight and every alpha; what is expected is computed in float64.

    With ``raw`` the alphas are the mixture weights themselves. They do not sum to one, which shows what each of them
    multiplies and what, like the bias of the joint projection and of the classifier, follows no choice.
    """

    def weights_of(alphas: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: 0.5 + 0.1 * alpha if raw else alpha.softmax(-1) for name, alpha in alphas.items()}

    parameters, alphas = dict(vit_supernet(space, seed=seed).named_parameters()), random_alphas(space, seed=seed)
    image = images(space, seed=seed).requires_grad_()
    expected = naive(space, image, parameters, weights_of(alphas))
    wanted = gradients(expected, {**parameters, **alphas, "image": image})
    for dtype in dtypes:
        supernet, alphas = vit_supernet(space, dtype, seed), random_alphas(space, dtype, seed)
        image = images(space, dtype, seed=seed).requires_grad_()
        value = supernet.logits(image, Mixture(space, weights_of(alphas)))
        assert value.dtype == dtype
        assert_close(value, expected, "logits")
        assert_all_close(gradients(value, {**dict(supernet.named_parameters()), **alphas, "image": image}), wanted)


@granularities
@kinds
def test_mixture_equals_naive_sum(kind: str, granularity: str):
    assert_naive_equality(tiny_vit(GRANULARITIES[granularity], **KINDS[kind]), *DTYPES)


@kinds
def test_weights_that_do_not_sum_to_one(kind: str):
    assert_naive_equality(tiny_vit(GRANULARITIES["per_layer"], **KINDS[kind]), torch.float64, raw=True)


@few
@given(space=vit_spaces(), seed=st.integers(0, 2**31 - 1))
def test_mixture_equals_naive_sum_in_any_space(space: ViTSpace, seed: int):
    assert_naive_equality(space, *DTYPES, seed=seed)


@kinds
def test_the_oracle_is_upstream_vit_for_the_only_architecture(kind: str):
    """With one option a choice there is nothing to mix, so the naive sum itself must be timm's own forward pass."""
    values = KINDS[kind]
    options = {"embed_dim": [values.get("embed_dim", [24])[-1]], "depth": [3], "num_heads": [4], "mlp_ratio": [3]}
    space = tiny_vit(**{**values, **options})
    supernet, image = vit_supernet(space), images(space)
    ones = {choice.name: torch.ones(1, dtype=torch.float64) for choice in space}
    expected = upstream_subnet(space, supernet, space.largest)(image)
    assert_close(naive(space, image, dict(supernet.named_parameters()), ones), expected, "logits")
