from __future__ import annotations

import pytest
import torch
from hypothesis import given
from knotwork_ops import SlicedWidth, embedding, prefix_width
from torch.nn import functional as F

from . import oracle
from .comparison import DTYPES, assert_factors, assert_same, assert_same_mixture, few, one_hot, seeds, tensors, widths

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
