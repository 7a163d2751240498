from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from knotwork_ops import MixedWidth, SlicedWidth, Width, hidden_units, joint_width, linear, mlp_width, prefix_width
from torch import Tensor
from torch.nn import functional as F

from . import oracle
from .comparison import DTYPES, assert_factors, assert_same, assert_same_mixture, few, one_hot, seeds, tensors, widths

EMBEDS, RATIOS = (2, 4, 6), (1, 1.5, 3)

dtypes = pytest.mark.parametrize("dtype", DTYPES)


def even(options: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(2 * option for option in options)


def leaves_of(seed: int, embed: int, hidden: int) -> dict[str, Tensor]:
    shapes = {"fc1": (hidden, embed), "bias1": (hidden,), "fc2": (embed, hidden), "bias2": (embed,)}
    return tensors(seed, x=(2, 3, embed), **shapes)


def mlp(x: Tensor, fc1: Tensor, bias1: Tensor, fc2: Tensor, bias2: Tensor, embed: Width, hidden: Width) -> Tensor:
    return linear(F.gelu(linear(x, fc1, bias1, embed, hidden)), fc2, bias2, hidden, embed)


def naive_mlp(x, fc1, bias1, fc2, bias2, a, b, embeds=EMBEDS, ratios=RATIOS):
    pairs = [(a[i], b[j], e, int(m * e)) for i, e in enumerate(embeds) for j, m in enumerate(ratios)]
    first = [(weight * share, hidden, e) for weight, share, e, hidden in pairs]
    first_bias = [(weight * share, hidden) for weight, share, _, hidden in pairs]
    second = [(weight * share, e, hidden) for weight, share, e, hidden in pairs]
    second_bias = [(a[i], e) for i, e in enumerate(embeds)]
    h = oracle.linear(x, fc1, bias1, first, first_bias)
    return oracle.linear(F.gelu(h), fc2, bias2, second, second_bias)


@dtypes
@few
@given(
    embeds=widths(1, 3).map(even),
    ratios=st.sets(st.sampled_from([0.5, 1, 1.5, 2, 3]), min_size=1, max_size=3).map(lambda found: tuple(sorted(found))),
    seed=seeds,
)
def test_mixture_is_the_sum_over_embeddings_and_ratios(
    dtype: torch.dtype, embeds: tuple[int, ...], ratios: tuple[float, ...], seed: int
):
    def naive(a, b, **leaves):
        return naive_mlp(**leaves, a=a, b=b, embeds=embeds, ratios=ratios)

    def mixed(a, b, **leaves):
        embed = prefix_width("embed", a, embeds)
        return mlp(**leaves, embed=embed, hidden=mlp_width(embed, ratios, b))

    leaves = leaves_of(seed, embeds[-1], int(embeds[-1] * ratios[-1]))
    assert_same_mixture(mixed, naive, leaves, {"a": len(embeds), "b": len(ratios)}, dtype)


@dtypes
@pytest.mark.parametrize("i", range(3))
@pytest.mark.parametrize("j", range(3))
def test_one_hot_mixture_slice_and_plain_mlp_agree(dtype: torch.dtype, i: int, j: int):
    e, hidden = EMBEDS[i], int(EMBEDS[i] * RATIOS[j])

    def plain(x, fc1, bias1, fc2, bias2):
        h = F.linear(x[..., :e], fc1[:hidden, :e], bias1[:hidden])
        return F.linear(F.gelu(h), fc2[:e, :hidden], bias2[:e])

    def sliced(x, **leaves):
        embed = SlicedWidth("embed", e)
        return mlp(x[..., :e], **leaves, embed=embed, hidden=mlp_width(embed, RATIOS, RATIOS[j]))

    def mixed(x, **leaves):
        embed = prefix_width("embed", one_hot(i, 3).to(x.dtype), EMBEDS)
        y = mlp(x, **leaves, embed=embed, hidden=mlp_width(embed, RATIOS, one_hot(j, 3).to(x.dtype)))
        assert not y[..., e:].any()
        return y[..., :e]

    leaves = leaves_of(3 * i + j, 6, 18)
    assert_same(sliced, plain, leaves, dtype)
    assert_same(mixed, plain, leaves, dtype)


@pytest.mark.parametrize("i", range(3))
@pytest.mark.parametrize("j", range(3))
def test_factors_of_embedding_and_ratio(i: int, j: int):
    e = EMBEDS[i]

    def naive(a, b, **leaves):
        return naive_mlp(**leaves, a=a, b=b)[..., :e]

    def sliced(x, a, b, **leaves):
        embed = SlicedWidth("embed", e, a)
        return mlp(x[..., :e], **leaves, embed=embed, hidden=mlp_width(embed, RATIOS, RATIOS[j], b))

    assert_factors(sliced, naive, leaves_of(i + j, 6, 18), {"a": (i, 3), "b": (j, 3)})


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("which", ["first", "second"])
def test_factors_of_each_map_alone(which: str, bias: bool):
    """The whole MLP could hide a factor that is missing in one map and doubled in the other."""
    i, j = 1, 1
    e, hidden = EMBEDS[i], int(EMBEDS[i] * RATIOS[j])
    pairs = [(k, m, EMBEDS[k], int(EMBEDS[k] * RATIOS[m])) for k in range(3) for m in range(3)]

    def naive(x, weight, a, b, bias=None):
        if which == "first":
            blocks = [(a[k] * b[m], rows, columns) for k, m, columns, rows in pairs]
            return oracle.linear(x, weight, bias, blocks, [(a[k] * b[m], rows) for k, m, _, rows in pairs])[..., :hidden]
        blocks = [(a[k] * b[m], rows, columns) for k, m, rows, columns in pairs]
        return oracle.linear(x, weight, bias, blocks, [(a[k], rows) for k, rows in enumerate(EMBEDS)])[..., :e]

    def sliced(x, weight, a, b, bias=None):
        embed = SlicedWidth("embed", e, a)
        inner = mlp_width(embed, RATIOS, RATIOS[j], b)
        if which == "first":
            return linear(x[..., :e], weight, bias, embed, inner)
        return linear(x[..., :hidden], weight, bias, inner, embed)

    rows, columns = (18, 6) if which == "first" else (6, 18)
    leaves = tensors(0, x=(2, 3, columns), weight=(rows, columns), **({"bias": (rows,)} if bias else {}))
    assert_factors(sliced, naive, leaves, {"a": (i, 3), "b": (j, 3)})


def test_joint_width_takes_any_table_of_widths():
    a, b = torch.tensor([0.3, 0.7]), torch.tensor([0.4, 0.6])
    width = joint_width(prefix_width("embed", a, (2, 3)), b, [[1, 4], [2, 5]])
    expected = torch.tensor([1.0, 0.3 * 0.6 + 0.7, 0.6, 0.6, 0.7 * 0.6])
    torch.testing.assert_close(width.mean, expected)
    assert width.choice == "embed"


@pytest.mark.parametrize(
    ("embed", "ratio", "units"), [(192, 3.5, 672), (216, 4, 864), (4, 0.5, 2), (768, 4.0, 3072), (120, 4.1, 492)]
)
def test_hidden_units(embed: int, ratio: float, units: int):
    assert hidden_units(embed, ratio) == units
    assert isinstance(hidden_units(embed, ratio), int)


def test_hidden_units_that_are_no_whole_number_are_refused():
    with pytest.raises(ValueError, match="MLP ratio inf of embedding width 4 is inf hidden units"):
        hidden_units(4, float("inf"))
    with pytest.raises(ValueError, match=r"MLP ratio 2\.5 of embedding width 3 is 7\.5 hidden units"):
        hidden_units(3, 2.5)
    with pytest.raises(ValueError, match=r"MLP ratio 1\.5 of embedding width 3 is 4\.5 hidden units"):
        mlp_width(prefix_width("embed", torch.ones(2), (3, 4)), (1, 1.5), torch.ones(2))


def test_mixed_and_sliced_do_not_go_together():
    mixed, sliced = prefix_width("embed", torch.ones(2), (2, 4)), SlicedWidth("embed", 2)
    with pytest.raises(TypeError, match="embedding and MLP ratio must both be mixed or both sliced"):
        mlp_width(mixed, (1, 2), 2)
    with pytest.raises(TypeError, match="embedding and MLP ratio must both be mixed or both sliced"):
        mlp_width(sliced, (1, 2), torch.ones(2))


def test_an_embedding_without_prefixes_is_refused():
    width = MixedWidth("embed", torch.ones(2), (4,), torch.ones(2, 1))
    with pytest.raises(ValueError, match="an MLP ratio of choice 'embed' needs options that are prefixes"):
        mlp_width(width, (1, 2), torch.ones(2))
