from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from knotwork_ops import SlicedWidth, conv2d, prefix_width
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
    widths,
)

OPTIONS = (2, 3, 6)

dtypes = pytest.mark.parametrize("dtype", DTYPES)
biases = pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
pairs = st.tuples(st.integers(1, 2), st.integers(1, 3))


def leaves_of(
    seed: int, channels: int, kernel: tuple[int, int] = (2, 3), size: tuple[int, int] = (4, 5), bias: bool = True
) -> dict[str, Tensor]:
    leaves = tensors(seed, x=(2, 2, *size), weight=(channels, 2, *kernel), bias=(channels,))
    return leaves if bias else {name: leaves[name] for name in ("x", "weight")}


@dtypes
@few
@given(
    options=widths(),
    kernel=pairs,
    stride=pairs,
    padding=st.tuples(st.integers(0, 1), st.integers(0, 1)),
    bias=st.booleans(),
    seed=seeds,
)
def test_mixture_is_the_sum_of_padded_filters(
    dtype: torch.dtype,
    options: tuple[int, ...],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    bias: bool,
    seed: int,
):
    def naive(x, weight, a, bias=None):
        return oracle.conv2d(x, weight, bias, a, options, stride, padding)

    def mixed(x, weight, a, bias=None):
        return conv2d(x, weight, bias, prefix_width("embed", a, options), stride=stride, padding=padding)

    leaves = leaves_of(seed, options[-1], kernel, bias=bias)
    assert_same_mixture(mixed, naive, leaves, {"a": len(options)}, dtype)


def test_stride_and_padding_may_be_one_number():
    def naive(x, weight, bias, a):
        return oracle.conv2d(x, weight, bias, a, OPTIONS, (2, 2), (1, 1))

    def mixed(x, weight, bias, a):
        return conv2d(x, weight, bias, prefix_width("embed", a, OPTIONS), stride=2, padding=1)

    def mixed_by_default(x, weight, bias, a):
        return conv2d(x, weight, bias, prefix_width("embed", a, OPTIONS))

    def naive_by_default(x, weight, bias, a):
        return oracle.conv2d(x, weight, bias, a, OPTIONS)

    assert_same_mixture(mixed, naive, leaves_of(0, 6), {"a": 3}, torch.float64)
    assert_same_mixture(mixed_by_default, naive_by_default, leaves_of(0, 6), {"a": 3}, torch.float64)


@biases
@dtypes
@pytest.mark.parametrize("index", range(3))
def test_one_hot_mixture_slice_and_plain_convolution_agree(dtype: torch.dtype, index: int, bias: bool):
    channels = OPTIONS[index]

    def plain(x, weight, bias=None):
        return F.conv2d(x, weight[:channels], None if bias is None else bias[:channels], stride=2, padding=1)

    def sliced(x, weight, bias=None):
        return conv2d(x, weight, bias, SlicedWidth("embed", channels), stride=2, padding=1)

    def mixed(x, weight, bias=None):
        width = prefix_width("embed", one_hot(index, 3).to(x.dtype), OPTIONS)
        y = conv2d(x, weight, bias, width, stride=2, padding=1)
        assert not y[:, channels:].any()
        return y[:, :channels]

    leaves = leaves_of(index, 6, bias=bias)
    assert_same(sliced, plain, leaves, dtype)
    assert_same(mixed, plain, leaves, dtype)


@biases
@pytest.mark.parametrize("index", range(3))
def test_factor(index: int, bias: bool):
    channels = OPTIONS[index]

    def naive(x, weight, a, bias=None):
        return oracle.conv2d(x, weight, bias, a, OPTIONS, (2, 1))[:, :channels]

    def sliced(x, weight, a, bias=None):
        return conv2d(x, weight, bias, SlicedWidth("embed", channels, a), stride=(2, 1))

    assert_factors(sliced, naive, leaves_of(index, 6, bias=bias), {"a": (index, 3)})


@pytest.mark.parametrize("index", [None, 0, 1, 2], ids=str)
def test_autocast_stays_close_to_float32(index: int | None):
    x, weight, bias = (leaf.float() for leaf in leaves_of(0, 6).values())
    mixed = prefix_width("embed", torch.tensor([0.2, 0.3, 0.5]), OPTIONS)
    width = mixed if index is None else SlicedWidth("embed", OPTIONS[index], torch.ones(()))
    with torch.autocast("cpu", torch.bfloat16):
        y = conv2d(x, weight, bias, width)
    assert y.dtype == torch.bfloat16
    assert_close(y, conv2d(x, weight, bias, width), 2e-2, "value")
