from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from knotwork_ops import GatedDepth, MixedDepth, SlicedDepth, run_layers
from torch import Tensor

from . import oracle
from .comparison import DTYPES, assert_factors, assert_same, assert_same_mixture, few, one_hot, seeds, tensors, widths

OPTIONS = (1, 3, 4)
SIZE = 3

dtypes = pytest.mark.parametrize("dtype", DTYPES)


def layers_of(weights: Tensor) -> list[Callable[[Tensor], Tensor]]:
    """One non-linear residual layer per matrix."""
    return [lambda x, w=w: x + torch.tanh(x @ w) for w in weights]


@dtypes
@few
@given(options=widths(1, 5), seed=seeds)
def test_mixture_is_the_sum_of_the_nets_of_every_depth(dtype: torch.dtype, options: tuple[int, ...], seed: int):
    def naive(x, weights, d):
        return oracle.depth(x, layers_of(weights), d, options)

    def mixed(x, weights, d):
        return run_layers(x, layers_of(weights), MixedDepth(d, options))

    assert_same_mixture(mixed, naive, tensors(seed, x=(2, SIZE), weights=(5, SIZE, SIZE)), {"d": len(options)}, dtype)


@dtypes
@pytest.mark.parametrize("index", range(3))
def test_one_hot_mixture_slice_and_plain_net_agree(dtype: torch.dtype, index: int):
    def plain(x, weights):
        for layer in layers_of(weights)[: OPTIONS[index]]:
            x = layer(x)
        return x

    def sliced(x, weights):
        return run_layers(x, layers_of(weights), SlicedDepth(OPTIONS[index]))

    def mixed(x, weights):
        return run_layers(x, layers_of(weights), MixedDepth(one_hot(index, 3).to(x.dtype), OPTIONS))

    leaves = tensors(index, x=(2, SIZE), weights=(4, SIZE, SIZE))
    assert_same(sliced, plain, leaves, dtype)
    assert_same(mixed, plain, leaves, dtype)


@pytest.mark.parametrize("index", range(3))
def test_factor(index: int):
    def naive(x, weights, d):
        return oracle.depth(x, layers_of(weights), d, OPTIONS)

    def sliced(x, weights, d):
        return run_layers(x, layers_of(weights), SlicedDepth(OPTIONS[index], d))

    assert_factors(sliced, naive, tensors(index, x=(2, SIZE), weights=(4, SIZE, SIZE)), {"d": (index, 3)})


@pytest.mark.parametrize("depth", [SlicedDepth(2), MixedDepth(torch.tensor([0.5, 0.5]), (1, 2))])
def test_layers_beyond_the_depth_are_not_run(depth: SlicedDepth | MixedDepth):
    def must_not_run(x: Tensor) -> Tensor:
        raise AssertionError("a layer beyond the depth was run")

    x = torch.randn(2, SIZE)
    assert torch.equal(run_layers(x, [lambda x: x, lambda x: x, must_not_run], depth), x)


@pytest.mark.parametrize("depth", [SlicedDepth(3), MixedDepth(torch.tensor([0.5, 0.5]), (1, 3))])
def test_fewer_layers_than_the_depth_are_refused(depth):
    with pytest.raises(ValueError, match="depth 3 needs as many layers, but there are 1"):
        run_layers(torch.zeros(1), [lambda x: x], depth)


@dtypes
@few
@given(count=st.integers(1, 4), seed=seeds)
def test_gated_layers_are_mixed_with_their_absence(dtype: torch.dtype, count: int, seed: int):
    def naive(x, weights, s):
        for layer, share in zip(layers_of(weights), s, strict=True):
            x = share * layer(x) + (1 - share) * x
        return x

    def gated(x, weights, s):
        return run_layers(x, layers_of(weights), GatedDepth(tuple(s)))

    assert_same(gated, naive, tensors(seed, x=(2, SIZE), weights=(count, SIZE, SIZE), s=(count,)), dtype)


def test_a_layer_without_a_share_is_run_as_it_is_and_one_of_share_zero_is_not_there():
    x, (first, second) = torch.randn(2, SIZE), layers_of(torch.randn(2, SIZE, SIZE))
    assert torch.equal(run_layers(x, [first, second], GatedDepth((None, torch.zeros(())))), first(x))
    assert torch.equal(run_layers(x, [first, second], GatedDepth((torch.ones(()), None))), second(first(x)))


def test_fewer_layers_than_shares_are_refused():
    with pytest.raises(ValueError, match="shares of 2 layers, but 1 layers"):
        run_layers(torch.zeros(1), [lambda x: x], GatedDepth((None, None)))
