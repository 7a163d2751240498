from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from knotwork_ops import (
    MixedHeads,
    SlicedHeads,
    SlicedWidth,
    fixed_head_attention,
    fixed_head_width,
    linear,
    prefix_width,
)
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

HEADS, HEAD_DIM, SIZE = (1, 3, 4), 5, 20
EMBEDS = (2, 6, 7)  # no head count divides them, nor needs to

dtypes = pytest.mark.parametrize("dtype", DTYPES)
causality = pytest.mark.parametrize("causal", [True, False], ids=["causal", "full"])


def qkv(seed: int, size: int = SIZE, tokens: int = 3) -> dict[str, Tensor]:
    return tensors(seed, q=(2, tokens, size), k=(2, tokens, size), v=(2, tokens, size))


def plain_attention(q: Tensor, k: Tensor, v: Tensor, heads: int, causal: bool) -> Tensor:
    """torch's attention, with torch's own scale, of heads side by side."""
    q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2).flatten(2)


@dtypes
@few
@given(causal=st.booleans(), heads=widths(1, 4), head_dim=st.integers(1, 4), tokens=st.integers(1, 4), seed=seeds)
def test_mixture_is_the_sum_over_head_counts(
    causal: bool, dtype: torch.dtype, heads: tuple[int, ...], head_dim: int, tokens: int, seed: int
):
    def naive(q, k, v, b):
        return oracle.fixed_head_attention(q, k, v, b, heads, head_dim, causal)

    def mixed(q, k, v, b):
        return fixed_head_attention(q, k, v, MixedHeads(b, heads), head_dim, causal=causal)

    assert_same_mixture(mixed, naive, qkv(seed, heads[-1] * head_dim, tokens), {"b": len(heads)}, dtype)


@causality
@dtypes
@pytest.mark.parametrize("index", range(3))
def test_one_hot_mixture_slice_and_plain_attention_agree(causal: bool, dtype: torch.dtype, index: int):
    heads = HEADS[index]
    width = fixed_head_width(SlicedHeads(heads), HEAD_DIM, SIZE)
    assert width is not None

    def plain(q, k, v):
        q, k, v = (t[..., : heads * HEAD_DIM] for t in (q, k, v))
        return plain_attention(q, k, v, heads, causal)

    def sliced(q, k, v):
        q, k, v = (width.take(t, -1) for t in (q, k, v))
        return fixed_head_attention(q, k, v, SlicedHeads(heads), HEAD_DIM, causal=causal)

    def mixed(q, k, v):
        weights = one_hot(index, 3).to(q.dtype)
        y = fixed_head_attention(q, k, v, MixedHeads(weights, HEADS), HEAD_DIM, causal=causal)
        assert not y[..., heads * HEAD_DIM :].any()
        return y[..., : heads * HEAD_DIM]

    assert_same(sliced, plain, qkv(index), dtype)
    assert_same(mixed, plain, qkv(index), dtype)


@causality
@pytest.mark.parametrize("index", range(3))
def test_factor_of_heads(causal: bool, index: int):
    units = HEADS[index] * HEAD_DIM

    def naive(q, k, v, b):
        return oracle.fixed_head_attention(q, k, v, b, HEADS, HEAD_DIM, causal)[..., :units]

    def sliced(q, k, v, b):
        q, k, v = (t[..., :units] for t in (q, k, v))
        return fixed_head_attention(q, k, v, SlicedHeads(HEADS[index], b), HEAD_DIM, causal=causal)

    assert_factors(sliced, naive, qkv(index), {"b": (index, 3)})


def block_leaves(seed: int) -> dict[str, Tensor]:
    size = EMBEDS[-1]
    leaves = tensors(seed, x=(2, 3, size), w=(3 * SIZE, size), wb=(3 * SIZE,), o=(size, SIZE), ob=(size,))
    return {name: leaf / 2 for name, leaf in leaves.items()}


def block(x: Tensor, w: Tensor, wb: Tensor, o: Tensor, ob: Tensor, embed, heads) -> Tensor:
    """A self-attention block as a supernet would write it: joint projection, attention, output projection."""
    joint = fixed_head_width(heads, HEAD_DIM, SIZE, parts=3)
    q, k, v = linear(x, w, wb, inputs=embed, outputs=joint).chunk(3, -1)
    y = fixed_head_attention(q, k, v, heads, HEAD_DIM, causal=False)
    return linear(y, o, ob, inputs=fixed_head_width(heads, HEAD_DIM, SIZE), outputs=embed)


def naive_block(x, w, wb, o, ob, a, b) -> Tensor:
    joint = oracle.linear(x, w, wb, [(a[m], 3 * SIZE, e) for m, e in enumerate(EMBEDS)], [(1.0, 3 * SIZE)])
    q, k, v = joint[..., :SIZE], joint[..., SIZE : 2 * SIZE], joint[..., 2 * SIZE :]
    y = oracle.fixed_head_attention(q, k, v, b, HEADS, HEAD_DIM, causal=False)
    blocks = [(a[m], e, SIZE) for m, e in enumerate(EMBEDS)]
    return oracle.linear(y, o, ob, blocks, [(a[m], e) for m, e in enumerate(EMBEDS)])


@dtypes
def test_a_mixed_block_is_the_naive_sum(dtype: torch.dtype):
    def mixed(a, b, **leaves):
        return block(**leaves, embed=prefix_width("embed", a, EMBEDS), heads=MixedHeads(b, HEADS))

    assert_same_mixture(mixed, naive_block, block_leaves(0), {"a": 3, "b": 3}, dtype)


@dtypes
@pytest.mark.parametrize(("i", "j"), [(i, j) for i in range(3) for j in range(3)])
def test_a_sliced_block_is_plain_attention_with_sliced_weights(dtype: torch.dtype, i: int, j: int):
    embed, heads = EMBEDS[i], HEADS[j]
    units = list(range(heads * HEAD_DIM))
    rows = [part * SIZE + unit for part in range(3) for unit in units]

    def plain(x, w, wb, o, ob):
        q, k, v = F.linear(x[..., :embed], w[rows][:, :embed], wb[rows]).chunk(3, -1)
        y = plain_attention(q, k, v, heads, causal=False)
        return F.linear(y, o[:embed][:, units], ob[:embed])

    def sliced(x, **weights):
        return block(x[..., :embed], **weights, embed=SlicedWidth("embed", embed), heads=SlicedHeads(heads))

    def mixed(x, **weights):
        a, b = one_hot(i, 3).to(x.dtype), one_hot(j, 3).to(x.dtype)
        y = block(x, **weights, embed=prefix_width("embed", a, EMBEDS), heads=MixedHeads(b, HEADS))
        assert not y[..., embed:].any()
        return y[..., :embed]

    assert_same(sliced, plain, block_leaves(3 * i + j), dtype)
    assert_same(mixed, plain, block_leaves(3 * i + j), dtype)


@pytest.mark.parametrize(("i", "j"), [(0, 2), (1, 0), (2, 1), (2, 2)])
def test_factors_of_a_block(i: int, j: int):
    embed, heads = EMBEDS[i], HEADS[j]

    def naive(**leaves):
        return naive_block(**leaves)[..., :embed]

    def sliced(x, a, b, **weights):
        return block(x[..., :embed], **weights, embed=SlicedWidth("embed", embed, a), heads=SlicedHeads(heads, b))

    assert_factors(sliced, naive, block_leaves(i + j), {"a": (i, 3), "b": (j, 3)})


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("heads", HEADS)
def test_fixed_head_width_takes_the_first_heads_of_every_part(heads: int, parts: int):
    width = fixed_head_width(SlicedHeads(heads), HEAD_DIM, SIZE, parts)
    assert width is not None
    assert width.scale is None
    weight = torch.arange(parts * SIZE * 2).view(parts * SIZE, 2)
    rows = [part * SIZE + unit for part in range(parts) for unit in range(heads * HEAD_DIM)]
    assert torch.equal(width.take(weight, 0), weight[rows])
    assert torch.equal(width.take(weight.t(), -1), weight[rows].t())


@pytest.mark.parametrize("parts", [1, 3])
def test_fixed_head_width_of_all_heads_is_a_view(parts: int):
    width = fixed_head_width(SlicedHeads(4), HEAD_DIM, SIZE, parts)
    assert width is not None
    weight = torch.randn(parts * SIZE, 7)
    assert width.take(weight, 0).data_ptr() == weight.data_ptr()


def test_fixed_head_width_of_a_mixture_is_none():
    assert fixed_head_width(MixedHeads(torch.ones(3), HEADS), HEAD_DIM, SIZE) is None


@pytest.mark.parametrize("heads", [MixedHeads(torch.tensor([0.5, 0.3, 0.2]), HEADS), SlicedHeads(4, torch.ones(()))], ids=repr)
def test_autocast_stays_close_to_float32(heads):
    q, k, v = (t.float() for t in qkv(0).values())
    with torch.autocast("cpu", torch.bfloat16):
        y = fixed_head_attention(q, k, v, heads, HEAD_DIM, causal=True)
    assert_close(y, fixed_head_attention(q, k, v, heads, HEAD_DIM, causal=True), 2e-2, "value")


@pytest.mark.parametrize("heads", [MixedHeads(torch.ones(3), HEADS), SlicedHeads(4)], ids=["mixed", "sliced"])
def test_dropout_is_applied(heads):
    q, k, v = (t.float() for t in qkv(0).values())
    assert not fixed_head_attention(q, k, v, heads, HEAD_DIM, causal=True, dropout=1.0 - 1e-7).any()
    assert fixed_head_attention(q, k, v, heads, HEAD_DIM, causal=True).all()
