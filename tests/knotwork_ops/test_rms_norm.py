from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from knotwork_ops import MixedWidth, SlicedWidth, prefix_width, rms_norm
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

OPTIONS = (4, 5, 9)

dtypes = pytest.mark.parametrize("dtype", DTYPES)


def leaves_of(seed: int, size: int) -> dict[str, Tensor]:
    return tensors(seed, x=(2, 3, size), weight=(size,))


# One unit may be nearly zero: 1/rms then magnifies rounding in any formula, so float32 has four or more.
@dtypes
@few
@given(options=widths(4, 12, most=4), eps=st.sampled_from([1e-5, 1e-6, 1e-2]), seed=seeds)
def test_mixture_is_the_sum_of_padded_prefix_norms(dtype: torch.dtype, options: tuple[int, ...], eps: float, seed: int):
    def naive(x, weight, a):
        return oracle.rms_norm(x, weight, a, options, eps)

    def mixed(x, weight, a):
        return rms_norm(x, weight, prefix_width("embed", a, options), eps)

    assert_same_mixture(mixed, naive, leaves_of(seed, options[-1]), {"a": len(options)}, dtype)


@dtypes
@pytest.mark.parametrize("index", range(3))
def test_one_hot_mixture_slice_and_plain_norm_agree(dtype: torch.dtype, index: int):
    width = OPTIONS[index]

    def plain(x, weight):
        return F.rms_norm(x[..., :width], (width,), weight[:width], 1e-6)

    def sliced(x, weight):
        return rms_norm(x[..., :width], weight, SlicedWidth("embed", width))

    def mixed(x, weight):
        y = rms_norm(x, weight, prefix_width("embed", one_hot(index, 3).to(x.dtype), OPTIONS))
        assert not y[..., width:].any()
        return y[..., :width]

    leaves = leaves_of(index, 9)
    assert_same(sliced, plain, leaves, dtype)
    assert_same(mixed, plain, leaves, dtype)


@pytest.mark.parametrize("index", range(3))
def test_factor(index: int):
    width = OPTIONS[index]

    def naive(x, weight, a):
        return oracle.rms_norm(x, weight, a, OPTIONS)[..., :width]

    def sliced(x, weight, a):
        return rms_norm(x[..., :width], weight, SlicedWidth("embed", width, a))

    assert_factors(sliced, naive, leaves_of(index, 9), {"a": (index, 3)})


def test_no_width_is_all_of_it():
    x, weight = leaves_of(0, 9).values()
    assert torch.equal(rms_norm(x, weight, eps=0.1), rms_norm(x, weight, SlicedWidth("embed", 9), 0.1))


def test_what_stands_beyond_a_prefix_leaves_its_statistics_alone():
    x, weight = leaves_of(0, 9).values()
    louder = torch.cat([x[..., :4], 1e3 * x[..., 4:]], -1)
    width = prefix_width("embed", one_hot(0, 3), OPTIONS)
    assert_close(rms_norm(louder, weight, width), rms_norm(x, weight, width), 1e-12, "value")


def test_options_must_be_prefixes():
    width = MixedWidth("embed", torch.ones(1), (3, 9), torch.tensor([[0.0, 1.0]]))
    with pytest.raises(ValueError, match="RMS norm over choice 'embed' needs options that are prefixes"):
        rms_norm(torch.randn(2, 9), torch.ones(9), width)


@pytest.mark.parametrize("width", [prefix_width("embed", torch.tensor([0.5, 0.3, 0.2]), OPTIONS), SlicedWidth("embed", 9)])
def test_autocast_stays_in_float32_and_low_precision_in_its_own(width):
    x, weight = (tensor.float() for tensor in leaves_of(0, 9).values())
    expected = rms_norm(x, weight, width)
    with torch.autocast("cpu", torch.bfloat16):
        assert rms_norm(x.bfloat16(), weight, width).dtype == torch.float32
        assert torch.equal(rms_norm(x, weight, width), expected)
    x, weight = x.bfloat16().requires_grad_(), weight.bfloat16().requires_grad_()
    y = rms_norm(x, weight, width)
    assert y.dtype == torch.bfloat16
    assert_close(y, expected, 2e-2, "value")
    y.sum().backward()
