from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from knotwork_ops import (
    HeadUnits,
    MixedHeads,
    MixedWidth,
    SlicedHeads,
    SlicedWidth,
    attention,
    head_width,
    linear,
    prefix_width,
)
from torch import Tensor, nn
from torch.nn import functional as F

from . import oracle
from .comparison import DTYPES, assert_close, assert_factors, assert_same, assert_same_mixture, few, one_hot, seeds, tensors

EMBEDS, HEADS = (4, 8, 12), (1, 2, 4)
PAIRS = [(i, j) for i in range(3) for j in range(3)]

dtypes = pytest.mark.parametrize("dtype", DTYPES)
causality = pytest.mark.parametrize("causal", [True, False])


@st.composite
def embeds_and_heads(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Head counts, and embeddings that all of them divide."""
    heads = draw(st.sampled_from([(1,), (2,), (1, 2), (1, 2, 4), (1, 3), (2, 3), (2, 4), (1, 2, 3)]))
    multiples = draw(st.sets(st.integers(1, 3), min_size=1))
    return tuple(math.lcm(*heads) * m for m in sorted(multiples)), heads


def qkv(seed: int, size: int, tokens: int = 3) -> dict[str, Tensor]:
    return tensors(seed, q=(2, tokens, size), k=(2, tokens, size), v=(2, tokens, size))


def used_units(embed: int, heads: int, size: int) -> list[int]:
    return [head * (size // heads) + dim for head in range(heads) for dim in range(embed // heads)]


@causality
@dtypes
@few
@given(options=embeds_and_heads(), tokens=st.integers(1, 4), seed=seeds)
def test_mixture_is_the_sum_over_heads_of_mixed_prefixes(
    causal: bool, dtype: torch.dtype, options: tuple[tuple[int, ...], tuple[int, ...]], tokens: int, seed: int
):
    embeds, heads = options

    def naive(q, k, v, a, b):
        return oracle.attention(q, k, v, a, embeds, b, heads, causal)

    def mixed(q, k, v, a, b):
        return attention(q, k, v, prefix_width("embed", a, embeds), MixedHeads(b, heads), causal=causal)

    assert_same_mixture(mixed, naive, qkv(seed, embeds[-1], tokens), {"a": len(embeds), "b": len(heads)}, dtype)


@causality
@dtypes
@pytest.mark.parametrize(("i", "j"), PAIRS)
def test_one_hot_mixture_slice_and_plain_attention_agree(causal: bool, dtype: torch.dtype, i: int, j: int):
    embed, heads = EMBEDS[i], HEADS[j]
    units = used_units(embed, heads, 12)
    width = head_width(SlicedWidth("embed", embed), SlicedHeads(heads), 12)
    assert width is not None

    def plain(q, k, v):
        split = [t[..., units].view(2, 3, heads, embed // heads).transpose(1, 2) for t in (q, k, v)]
        return F.scaled_dot_product_attention(*split, is_causal=causal).transpose(1, 2).reshape(2, 3, embed)

    def sliced(q, k, v):
        q, k, v = (width.take(t, -1) for t in (q, k, v))
        return attention(q, k, v, SlicedWidth("embed", embed), SlicedHeads(heads), causal=causal)

    def mixed(q, k, v):
        a, b = one_hot(i, 3).to(q.dtype), one_hot(j, 3).to(q.dtype)
        y = attention(q, k, v, prefix_width("embed", a, EMBEDS), MixedHeads(b, HEADS), causal=causal)
        assert not y[..., [unit for unit in range(12) if unit not in units]].any()
        return y[..., units]

    assert_same(sliced, plain, qkv(3 * i + j, 12), dtype)
    assert_same(mixed, plain, qkv(3 * i + j, 12), dtype)


@causality
@pytest.mark.parametrize(("i", "j"), PAIRS)
def test_factors_of_embedding_and_heads(causal: bool, i: int, j: int):
    embed, heads = EMBEDS[i], HEADS[j]
    units = used_units(embed, heads, 12)

    def naive(q, k, v, a, b):
        return oracle.attention(q, k, v, a, EMBEDS, b, HEADS, causal)[..., units]

    def sliced(q, k, v, a, b):
        width, chosen = SlicedWidth("embed", embed, a), SlicedHeads(heads, b)
        own = head_width(width, chosen, 12)
        assert own is not None
        q, k, v = (own.take(t, -1) for t in (q, k, v))
        return attention(q, k, v, width, chosen, causal=causal)

    assert_factors(sliced, naive, qkv(i + j, 12), {"a": (i, 3), "b": (j, 3)})


def block_leaves(seed: int, size: int = 12) -> dict[str, Tensor]:
    return tensors(seed, x=(2, 3, size), w=(3 * size, size), wb=(3 * size,), o=(size, size), ob=(size,))


def block(x: Tensor, w: Tensor, wb: Tensor, o: Tensor, ob: Tensor, embed, heads) -> Tensor:
    """A self-attention block as a supernet would write it: joint projection, attention, output projection."""
    q, k, v = linear(x, w, wb, inputs=embed, outputs=head_width(embed, heads, 12, parts=3)).chunk(3, -1)
    mixed = attention(q, k, v, embed, heads, causal=False)
    return linear(mixed, o, ob, inputs=head_width(embed, heads, 12), outputs=embed)


@dtypes
@pytest.mark.parametrize(("i", "j"), PAIRS)
def test_a_sliced_block_is_torchs_multihead_attention(dtype: torch.dtype, i: int, j: int):
    embed, heads = EMBEDS[i], HEADS[j]
    units = used_units(embed, heads, 12)
    rows = [part * 12 + unit for part in range(3) for unit in units]

    def plain(x, w, wb, o, ob):
        module = nn.MultiheadAttention(embed, heads, batch_first=True).to(x.dtype)
        weights = {
            "in_proj_weight": w[rows][:, :embed],
            "in_proj_bias": wb[rows],
            "out_proj.weight": o[:embed][:, units],
            "out_proj.bias": ob[:embed],
        }
        part = x[..., :embed]
        return torch.func.functional_call(module, weights, (part, part, part), {"need_weights": False})[0]

    def sliced(x, **weights):
        return block(x[..., :embed], **weights, embed=SlicedWidth("embed", embed), heads=SlicedHeads(heads))

    def mixed(x, **weights):
        a, b = one_hot(i, 3).to(x.dtype), one_hot(j, 3).to(x.dtype)
        y = block(x, **weights, embed=prefix_width("embed", a, EMBEDS), heads=MixedHeads(b, HEADS))
        assert not y[..., embed:].any()
        return y[..., :embed]

    leaves = {name: leaf / 2 for name, leaf in block_leaves(3 * i + j).items()}
    assert_same(sliced, plain, leaves, dtype)
    assert_same(mixed, plain, leaves, dtype)


@pytest.mark.parametrize(("i", "j"), [(0, 1), (1, 0), (1, 2), (2, 1)])
def test_factors_of_a_block(i: int, j: int):
    embed, heads = EMBEDS[i], HEADS[j]

    def naive(x, w, wb, o, ob, a, b):
        joint = oracle.linear(x, w, wb, [(a[m], 36, e) for m, e in enumerate(EMBEDS)], [(1.0, 36)])
        mixed = oracle.attention(joint[..., :12], joint[..., 12:24], joint[..., 24:], a, EMBEDS, b, HEADS, causal=False)
        blocks = [(a[m], e, 12) for m, e in enumerate(EMBEDS)]
        return oracle.linear(mixed, o, ob, blocks, [(a[m], e) for m, e in enumerate(EMBEDS)])[..., :embed]

    def sliced(x, a, b, **weights):
        return block(x[..., :embed], **weights, embed=SlicedWidth("embed", embed, a), heads=SlicedHeads(heads, b))

    assert_factors(sliced, naive, block_leaves(i + j), {"a": (i, 3), "b": (j, 3)})


@pytest.mark.parametrize(("embed", "heads"), [(4, 2), (8, 4), (12, 1), (8, 1)])
@pytest.mark.parametrize("dim", [0, -1, 1])
def test_head_units_take_the_first_dims_of_every_head(embed: int, heads: int, dim: int):
    tensor = torch.arange(36 * 36).view(36, 36)
    rows = [part * 12 + unit for part in range(3) for unit in used_units(embed, heads, 12)]
    expected = tensor[rows] if dim == 0 else tensor[:, rows]
    assert torch.equal(HeadUnits(12, heads, embed, parts=3).take(tensor, dim), expected)


def test_head_width_of_the_whole_embedding_is_a_view():
    width = head_width(SlicedWidth("embed", 12), SlicedHeads(4), 12, parts=3)
    assert width is not None
    assert width.units == 36
    weight = torch.randn(36, 12)
    assert width.take(weight, 0).data_ptr() == weight.data_ptr()


def test_head_width_of_a_mixture_is_none():
    a, b = torch.ones(3), torch.ones(3)
    assert head_width(prefix_width("embed", a, EMBEDS), MixedHeads(b, HEADS), 12) is None


def test_autocast_stays_close_to_float32():
    a, b = torch.tensor([0.2, 0.3, 0.5]), torch.tensor([0.5, 0.3, 0.2])
    q, k, v = (t.float() for t in qkv(0, 12).values())
    width, heads = prefix_width("embed", a, EMBEDS), MixedHeads(b, HEADS)
    with torch.autocast("cpu", torch.bfloat16):
        y = attention(q, k, v, width, heads, causal=True)
    assert_close(y, attention(q, k, v, width, heads, causal=True), 2e-2, "value")


def test_dropout_is_applied():
    a, b = torch.tensor([0.2, 0.3, 0.5]), torch.tensor([0.5, 0.3, 0.2])
    q, k, v = (t.float() for t in qkv(0, 12).values())
    width, heads = prefix_width("embed", a, EMBEDS), MixedHeads(b, HEADS)
    assert not attention(q, k, v, width, heads, causal=True, dropout=1.0 - 1e-7).any()
    own = SlicedWidth("embed", 12), SlicedHeads(4)
    assert not attention(q, k, v, *own, causal=True, dropout=1.0 - 1e-7).any()


def test_mixed_and_sliced_do_not_go_together():
    q, k, v = qkv(0, 12).values()
    mixed, sliced = prefix_width("embed", torch.ones(3), EMBEDS), SlicedWidth("embed", 12)
    with pytest.raises(TypeError, match="embedding and heads must both be mixed or both sliced"):
        attention(q, k, v, mixed, SlicedHeads(2), causal=True)
    with pytest.raises(TypeError, match="embedding and heads must both be mixed or both sliced"):
        attention(q, k, v, sliced, MixedHeads(torch.ones(3), HEADS), causal=True)


def test_an_embedding_without_prefixes_is_refused():
    q, k, v = qkv(0, 12).values()
    width = MixedWidth("embed", torch.ones(2), (12,), torch.ones(2, 1))
    with pytest.raises(ValueError, match="attention over choice 'embed' needs options that are prefixes"):
        attention(q, k, v, width, MixedHeads(torch.ones(3), HEADS), causal=True)
    with pytest.raises(ValueError, match="heads of choice 'embed' need an embedding that is a prefix"):
        head_width(SlicedWidth("embed", HeadUnits(12, 2, 4)), SlicedHeads(2), 12)


def test_heads_that_do_not_divide_a_width_are_refused():
    with pytest.raises(ValueError, match="width 10 is not divisible by 4 heads"):
        HeadUnits(16, 4, 10)
    embed = prefix_width("embed", torch.tensor([0.5, 0.5]), (10, 16))
    heads = MixedHeads(torch.tensor([1.0]), (4,))
    x = torch.zeros(1, 2, 16)
    with pytest.raises(ValueError, match="width 10 is not divisible by 4 heads"):
        attention(x, x, x, embed, heads, causal=True)


def test_head_counts_of_weight_zero_attend_only_for_their_gradient(monkeypatch):
    calls = []
    real = F.scaled_dot_product_attention
    monkeypatch.setattr(F, "scaled_dot_product_attention", lambda *given, **named: calls.append(1) or real(*given, **named))
    q, k, v = qkv(0, 12).values()
    embed, weights = prefix_width("embed", torch.tensor([0.4, 0.6], dtype=torch.float64), (6, 12)), one_hot(1, 3)
    fixed = attention(q, k, v, embed, MixedHeads(weights, (1, 2, 3)), causal=True)
    assert len(calls) == 1
    learnt = attention(q, k, v, embed, MixedHeads(weights.clone().requires_grad_(), (1, 2, 3)), causal=True)
    assert len(calls) == 4
    assert_close(fixed, learnt, 1e-12, "value")
