"""Operations of several kinds on one edge: superposed within a kind, summed over kinds."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from hypothesis import given
from knotwork_ops import Kernel, KindShare, mixed_kinds, run_kinds, separable_conv2d, sliced_kind
from torch import Tensor
from torch.nn import functional as F

from . import oracle
from .comparison import (
    DTYPES,
    assert_close,
    assert_factors,
    assert_same,
    assert_same_mixture,
    few,
    one_hot,
    seeds,
    tensors,
    value_and_gradients,
)

OPERATIONS = [("dilated", 3), ("plain", 1), ("dilated", 5), ("plain", 3)]
"""Not sorted by kind, so that a weight given to the wrong option shows."""
DILATION = {"plain": 1, "dilated": 2}

dtypes = pytest.mark.parametrize("dtype", DTYPES)


def leaves_of(seed: int) -> dict[str, Tensor]:
    return tensors(
        seed, x=(2, 3, 5, 6), plain=(3, 1, 3, 3), dilated=(3, 1, 5, 5), plain_points=(3, 3, 1, 1), dilated_points=(3, 3, 1, 1)
    )


def naive(x: Tensor, a: Tensor, eps: float = 1e-5, **weights: Tensor) -> Tensor:
    """The formula of ``knotwork_ops._kinds``, option by option."""
    total = torch.zeros_like(x)
    for kind in ("plain", "dilated"):
        own = [(weight, size) for weight, (name, size) in zip(a, OPERATIONS, strict=True) if name == kind]
        share: Tensor = sum(weight for weight, _ in own)  # type: ignore[assignment]
        if share == 0:
            continue
        given_kind, sizes = torch.stack([weight / share for weight, _ in own]), [size for _, size in own]
        y = oracle.separable_conv2d(x, weights[kind], weights[f"{kind}_points"], given_kind, sizes, 1, DILATION[kind])
        total = total + share * oracle.normalised(y, eps)
    return total


def run(x: Tensor, shares: Mapping[str, KindShare], weights: Mapping[str, Tensor], eps: float = 1e-5) -> Tensor:
    def function(kind: str):
        def operation(x: Tensor, kernel: Kernel) -> Tensor:
            y = separable_conv2d(x, weights[kind], weights[f"{kind}_points"], kernel, dilation=DILATION[kind])
            return F.batch_norm(y, None, None, training=True, eps=eps)

        return operation

    return run_kinds(x, {kind: function(kind) for kind in DILATION}, shares)


def mixed(x: Tensor, a: Tensor, **weights: Tensor) -> Tensor:
    return run(x, mixed_kinds(OPERATIONS, a), weights)


@dtypes
@few
@given(seed=seeds)
def test_mixture_is_superposed_within_kinds_and_summed_over_them(dtype: torch.dtype, seed: int):
    assert_same_mixture(mixed, naive, leaves_of(seed), {"a": 4}, dtype)


@dtypes
@pytest.mark.parametrize("index", range(4))
def test_one_hot_mixture_and_slice_are_the_operation_alone(dtype: torch.dtype, index: int):
    def alone(x, **weights):
        return naive(x, one_hot(index, 4).to(x.dtype), **weights)

    def one_hot_mixture(x, **weights):
        return mixed(x, one_hot(index, 4).to(x.dtype), **weights)

    def sliced(x, **weights):
        return run(x, sliced_kind(OPERATIONS[index]), weights)

    assert_same(one_hot_mixture, alone, leaves_of(index), dtype)
    assert_same(sliced, alone, leaves_of(index), dtype)


@dtypes
@pytest.mark.parametrize("a", [[1.0, 0, 0, 0], [0, 0.4, 0, 0.6], [1e-30, 0.5, 1e-38, 0.5]], ids=str)
def test_kinds_of_little_or_no_weight_leave_everything_finite(dtype: torch.dtype, a: list[float]):
    value, gradients = value_and_gradients(mixed, {**leaves_of(0), "a": torch.tensor(a, dtype=torch.float64)}, dtype)
    assert value.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients.values())


@pytest.mark.parametrize("index", range(4))
def test_factor(index: int):
    def sliced(x, a, **weights):
        return run(x, sliced_kind(OPERATIONS[index], a), weights)

    assert_factors(sliced, naive, leaves_of(0), {"a": (index, 4)})


def test_undivided_superposition_agrees_up_to_the_norms_epsilon():
    leaves = leaves_of(0)
    x, a = leaves.pop("x"), torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    shares = mixed_kinds(OPERATIONS, a)
    undivided = {
        kind: KindShare(share.weight, type(share.kernel)(share.kernel.weights * share.weight, share.kernel.sizes))  # type: ignore[union-attr,call-arg,operator]
        for kind, share in shares.items()
    }
    exact, scaled = run(x, shares, leaves, eps=1e-14), run(x, undivided, leaves, eps=1e-14)
    assert_close(scaled, exact, 1e-10, "value")
    assert (run(x, undivided, leaves, eps=1e-1) - run(x, shares, leaves, eps=1e-1)).abs().max() > 1e-2


def test_an_edge_without_operations_is_refused():
    with pytest.raises(ValueError, match="an edge needs at least one kind of operation"):
        run_kinds(torch.zeros(1), {}, {})
