from __future__ import annotations

import pytest
import torch
from hypothesis import given
from knotwork_ops import SlicedWidth, columns, embedding, prefix_width
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
IDS = torch.tensor([[0, 3, 3], [4, 1, 0]])  # a row twice and a row never, for the gradients

dtypes = pytest.mark.parametrize("dtype", DTYPES)


@dtypes
@few
@given(options=widths(), seed=seeds)
def test_mixture_is_the_sum_of_padded_tables(dtype: torch.dtype, options: tuple[int, ...], seed: int):
    def naive(weight, a):
        return oracle.embedding(IDS, weight, a, options)

    def mixed(weight, a):
        return embedding(IDS, weight, prefix_width("embed", a, options))

    assert_same_mixture(mixed, naive, tensors(seed, weight=(5, options[-1])), {"a": len(options)}, dtype)


@dtypes
@pytest.mark.parametrize("index", range(3))
def test_one_hot_mixture_slice_and_plain_embedding_agree(dtype: torch.dtype, index: int):
    width = OPTIONS[index]

    def plain(weight):
        return F.embedding(IDS, weight[:, :width])

    def sliced(weight):
        return embedding(IDS, weight, SlicedWidth("embed", width))

    def mixed(weight):
        y = embedding(IDS, weight, prefix_width("embed", one_hot(index, 3).to(weight.dtype), OPTIONS))
        assert not y[..., width:].any()
        return y[..., :width]

    leaves = tensors(index, weight=(5, 6))
    assert_same(sliced, plain, leaves, dtype)
    assert_same(mixed, plain, leaves, dtype)


@pytest.mark.parametrize("index", range(3))
def test_factor(index: int):
    width = OPTIONS[index]

    def naive(weight, a):
        return oracle.embedding(IDS, weight, a, OPTIONS)[..., :width]

    def sliced(weight, a):
        return embedding(IDS, weight, SlicedWidth("embed", width, a))

    assert_factors(sliced, naive, tensors(index, weight=(5, 6)), {"a": (index, 3)})


SHAPES = [(6,), (3, 6), (1, 2, 6)]
"""A layer scale, a table, and a class or position token."""


@dtypes
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@few
@given(options=widths(), seed=seeds)
def test_mixed_columns_are_the_sum_of_padded_tables(
    dtype: torch.dtype, shape: tuple[int, ...], options: tuple[int, ...], seed: int
):
    def naive(table, a):
        return oracle.columns(table, a, options)

    def mixed(table, a):
        return columns(table, prefix_width("embed", a, options))

    leaves = tensors(seed, table=(*shape[:-1], options[-1]))
    assert_same_mixture(mixed, naive, leaves, {"a": len(options)}, dtype)


@dtypes
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("index", range(3))
def test_one_hot_mixture_and_slice_are_the_first_columns(dtype: torch.dtype, shape: tuple[int, ...], index: int):
    width = OPTIONS[index]

    def plain(table):
        return table[..., :width]

    def sliced(table):
        return columns(table, SlicedWidth("embed", width))

    def mixed(table):
        y = columns(table, prefix_width("embed", one_hot(index, 3).to(table.dtype), OPTIONS))
        assert not y[..., width:].any()
        return y[..., :width]

    leaves = tensors(index, table=shape)
    assert_same(sliced, plain, leaves, dtype)
    assert_same(mixed, plain, leaves, dtype)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("index", range(3))
def test_factor_of_columns(shape: tuple[int, ...], index: int):
    def naive(table, a):
        return oracle.columns(table, a, OPTIONS)[..., : OPTIONS[index]]

    def sliced(table, a):
        return columns(table, SlicedWidth("embed", OPTIONS[index], a))

    assert_factors(sliced, naive, tensors(index, table=shape), {"a": (index, 3)})


def test_columns_of_one_option_are_a_view():
    table = torch.randn(3, 6)
    assert columns(table, SlicedWidth("embed", 3)).data_ptr() == table.data_ptr()


def test_columns_keep_their_precision_in_autocast():
    """A table goes into a sum that torch keeps in float32; in a pure bfloat16 model it stays in bfloat16."""
    table, width = torch.randn(3, 6), prefix_width("embed", torch.tensor([0.2, 0.3, 0.5]), OPTIONS)
    with torch.autocast("cpu", torch.bfloat16):
        inside = columns(table, width)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, columns(table, width))
    assert columns(table.bfloat16(), width).dtype == torch.bfloat16
    assert_close(columns(table.bfloat16(), width), columns(table, width), 2e-2, "value")
