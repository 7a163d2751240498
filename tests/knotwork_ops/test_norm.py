from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from knotwork_ops import MixedWidth, SlicedWidth, layer_norm, prefix_width
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

OPTIONS = (4, 5, 9)

dtypes = pytest.mark.parametrize("dtype", DTYPES)


def leaves_of(seed: int, size: int) -> dict[str, torch.Tensor]:
    return tensors(seed, x=(2, 3, size), weight=(size,), bias=(size,))


# Two units may be nearly equal, and one always is: 1/std then magnifies rounding beyond a relative 1e-5 in any formula.
@dtypes
@few
@given(options=widths(4, 12, most=4), eps=st.sampled_from([1e-5, 1e-6, 1e-2]), seed=seeds)
def test_mixture_is_the_sum_of_padded_prefix_norms(dtype: torch.dtype, options: tuple[int, ...], eps: float, seed: int):
    def naive(x, weight, bias, a):
        return oracle.layer_norm(x, weight, bias, a, options, eps)

    def mixed(x, weight, bias, a):
        return layer_norm(x, weight, bias, prefix_width("embed", a, options), eps)

    assert_same_mixture(mixed, naive, leaves_of(seed, options[-1]), {"a": len(options)}, dtype)


@few
@given(options=widths(1, 4), seed=seeds)
def test_narrow_prefixes_in_double(options: tuple[int, ...], seed: int):
    def naive(x, weight, bias, a):
        return oracle.layer_norm(x, weight, bias, a, options, eps=1e-2)

    def mixed(x, weight, bias, a):
        return layer_norm(x, weight, bias, prefix_width("embed", a, options), eps=1e-2)

    assert_same_mixture(mixed, naive, leaves_of(seed, options[-1]), {"a": len(options)}, torch.float64)


@dtypes
@pytest.mark.parametrize("index", range(3))
def test_one_hot_mixture_slice_and_plain_norm_agree(dtype: torch.dtype, index: int):
    width = OPTIONS[index]

    def plain(x, weight, bias):
        return F.layer_norm(x[..., :width], (width,), weight[:width], bias[:width])

    def sliced(x, weight, bias):
        return layer_norm(x[..., :width], weight, bias, SlicedWidth("embed", width))

    def mixed(x, weight, bias):
        y = layer_norm(x, weight, bias, prefix_width("embed", one_hot(index, 3).to(x.dtype), OPTIONS))
        assert not y[..., width:].any()
        return y[..., :width]

    leaves = leaves_of(index, 9)
    assert_same(sliced, plain, leaves, dtype)
    assert_same(mixed, plain, leaves, dtype)


@pytest.mark.parametrize("index", range(3))
def test_factor(index: int):
    width = OPTIONS[index]

    def naive(x, weight, bias, a):
        return oracle.layer_norm(x, weight, bias, a, OPTIONS)[..., :width]

    def sliced(x, weight, bias, a):
        return layer_norm(x[..., :width], weight, bias, SlicedWidth("embed", width, a))

    assert_factors(sliced, naive, leaves_of(index, 9), {"a": (index, 3)})


def test_what_stands_beyond_a_prefix_leaves_its_statistics_alone():
    """Padding must not count: with all weight on 4 units, the other 5 may hold anything."""
    x = torch.randn(3, 9, dtype=torch.float64)
    louder = torch.cat([x[:, :4], 1e3 * x[:, 4:]], -1)
    width = prefix_width("embed", one_hot(0, 3), OPTIONS)
    ones, zeros = torch.ones(9, dtype=torch.float64), torch.zeros(9, dtype=torch.float64)
    assert_close(layer_norm(louder, ones, zeros, width), layer_norm(x, ones, zeros, width), 1e-12, "value")


def test_a_large_offset_costs_no_precision():
    """Sums of squares would lose all digits here in float32: 1e4 squared leaves none for a variance of one."""
    x = tensors(0, x=(4, 9))["x"].float() + 1e4
    a = torch.tensor([0.2, 0.3, 0.5])
    ones, zeros = torch.ones(9), torch.zeros(9)
    expected = oracle.layer_norm(x.double(), ones.double(), zeros.double(), a.double(), OPTIONS)
    assert_close(layer_norm(x, ones, zeros, prefix_width("embed", a, OPTIONS)), expected, 1e-3, "value")


def test_autocast_keeps_the_statistics_in_float32():
    """Of a bfloat16 input under autocast, the norm is that of the same numbers in float32, to float32's precision."""
    x = (tensors(0, x=(4, 9))["x"] * 3 + 40).bfloat16()
    a = torch.tensor([0.2, 0.3, 0.5])
    weight, bias = torch.rand(9) + 0.5, torch.randn(9)
    width = prefix_width("embed", a, OPTIONS)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer_norm(x, weight, bias, width)
    assert y.dtype == torch.float32
    expected = oracle.layer_norm(x.double(), weight.double(), bias.double(), a.double(), OPTIONS)
    assert_close(y, expected, 1e-5, "value")


def test_options_that_are_no_prefixes_are_refused():
    width = MixedWidth("heads", torch.ones(2), (4,), torch.ones(2, 1))
    with pytest.raises(ValueError, match="layer norm over choice 'heads' needs options that are prefixes"):
        layer_norm(torch.randn(3, 4), torch.ones(4), torch.zeros(4), width)
