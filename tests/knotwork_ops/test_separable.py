from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from knotwork_ops import MixedKernel, SlicedKernel, separable_conv2d
from torch import Tensor
from torch.nn import functional as F

from . import oracle
from .comparison import DTYPES, assert_close, assert_same, assert_same_mixture, few, one_hot, seeds, tensors

SIZES = (1, 3, 5)

dtypes = pytest.mark.parametrize("dtype", DTYPES)
steps = {"stride": st.integers(1, 2), "dilation": st.integers(1, 2)}


def leaves_of(seed: int, size: int = 5) -> dict[str, Tensor]:
    return tensors(seed, x=(2, 3, 6, 5), depthwise=(3, 1, size, size), pointwise=(2, 3, 1, 1))


@dtypes
@few
@given(sizes=st.sets(st.sampled_from(SIZES), min_size=1).map(lambda s: tuple(sorted(s))), seed=seeds, **steps)
def test_mixture_is_the_sum_of_padded_kernels(
    dtype: torch.dtype, sizes: tuple[int, ...], seed: int, stride: int, dilation: int
):
    def naive(x, depthwise, pointwise, a):
        return oracle.separable_conv2d(x, depthwise, pointwise, a, sizes, stride, dilation)

    def mixed(x, depthwise, pointwise, a):
        return separable_conv2d(x, depthwise, pointwise, MixedKernel(a, sizes), stride=stride, dilation=dilation)

    assert_same_mixture(mixed, naive, leaves_of(seed, sizes[-1]), {"a": len(sizes)}, dtype)


@dtypes
@pytest.mark.parametrize("index", range(3))
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_one_hot_mixture_slice_and_plain_convolution_agree(dtype: torch.dtype, index: int, stride: int, dilation: int):
    size, edge = SIZES[index], (5 - SIZES[index]) // 2

    def plain(x, depthwise, pointwise):
        window = depthwise[:, :, edge : 5 - edge, edge : 5 - edge]
        return F.conv2d(F.conv2d(x, window, None, stride, dilation * (size // 2), dilation, groups=3), pointwise)

    def sliced(x, depthwise, pointwise):
        return separable_conv2d(x, depthwise, pointwise, SlicedKernel(size), stride=stride, dilation=dilation)

    def mixed(x, depthwise, pointwise):
        kernel = MixedKernel(one_hot(index, 3).to(x.dtype), SIZES)
        return separable_conv2d(x, depthwise, pointwise, kernel, stride=stride, dilation=dilation)

    leaves = leaves_of(index)
    assert_same(sliced, plain, leaves, dtype)
    assert_same(mixed, plain, leaves, dtype)


def test_autocast_stays_close_to_float32():
    x, depthwise, pointwise = (leaf.float() for leaf in leaves_of(0).values())
    for kernel in (MixedKernel(torch.tensor([0.2, 0.3, 0.5]), SIZES), SlicedKernel(3)):
        with torch.autocast("cpu", torch.bfloat16):
            y = separable_conv2d(x, depthwise, pointwise, kernel)
        assert y.dtype == torch.bfloat16
        assert_close(y, separable_conv2d(x, depthwise, pointwise, kernel), 3e-2, "value")


@pytest.mark.parametrize("sizes", [(3, 4), (5, 3), (3, 3)], ids=str)
def test_kernels_without_one_centre_or_order_are_refused(sizes: tuple[int, ...]):
    with pytest.raises(ValueError, match=rf"kernel sizes are \[{sizes[0]}, {sizes[1]}\]: they must be odd, .*ascending"):
        MixedKernel(torch.ones(2), sizes)


@pytest.mark.parametrize("size", [-1, 0, 2])
def test_a_size_that_is_not_odd_is_refused(size: int):
    with pytest.raises(ValueError, match=f"kernel size is {size}: it must be odd"):
        SlicedKernel(size)


@pytest.mark.parametrize(
    ("kernel", "shape"),
    [
        (SlicedKernel(5), (3, 3)),
        (SlicedKernel(3), (4, 4)),
        (SlicedKernel(3), (3, 5)),
        (MixedKernel(torch.ones(2), (1, 3)), (5, 5)),
    ],
    ids=str,
)
def test_a_stored_kernel_that_does_not_hold_the_windows_is_refused(kernel: MixedKernel | SlicedKernel, shape: tuple[int, int]):
    message = rf"kernels up to size \d cannot be windows of a stored kernel of {shape[0]} x {shape[1]}"
    with pytest.raises(ValueError, match=message):
        kernel.take(torch.zeros(2, 1, *shape))
