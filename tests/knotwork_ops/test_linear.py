from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from knotwork_ops import EntangledLinear, SlicedWidth, conv1d, linear, prefix_width
from torch import Tensor
from torch.nn import functional as F

from . import oracle
from .comparison import DTYPES, assert_factors, assert_same, assert_same_mixture, few, one_hot, seeds, tensors, widths

Op = Callable[..., Tensor]


def as_conv1d(x: Tensor, weight: Tensor, bias: Tensor | None, inputs=None, outputs=None) -> Tensor:
    """``conv1d`` as ``linear``, so that both run through the same tests: it gets the transposed weight, stored that way."""
    return conv1d(x, weight.t().contiguous(), bias, inputs, outputs)


ops = pytest.mark.parametrize("op", [linear, as_conv1d])
dtypes = pytest.mark.parametrize("dtype", DTYPES)


def leaves_of(seed: int, rows: int, columns: int, bias: bool = True) -> dict[str, Tensor]:
    leaves = tensors(seed, x=(2, 3, columns), weight=(rows, columns), bias=(rows,))
    return leaves if bias else {name: leaves[name] for name in ("x", "weight")}


@ops
@dtypes
@few
@given(options=widths(), rows=st.integers(1, 5), bias=st.booleans(), seed=seeds)
def test_mixed_input_alone(op: Op, dtype: torch.dtype, options: tuple[int, ...], rows: int, bias: bool, seed: int):
    def naive(x, weight, a, bias=None):
        return oracle.linear(x, weight, bias, [(a[i], rows, e) for i, e in enumerate(options)], [(1.0, rows)])

    def mixed(x, weight, a, bias=None):
        return op(x, weight, bias, inputs=prefix_width("embed", a, options))

    assert_same_mixture(mixed, naive, leaves_of(seed, rows, options[-1], bias), {"a": len(options)}, dtype)


@ops
@dtypes
@few
@given(options=widths(), columns=st.integers(1, 5), bias=st.booleans(), seed=seeds)
def test_mixed_output_alone(op: Op, dtype: torch.dtype, options: tuple[int, ...], columns: int, bias: bool, seed: int):
    def naive(x, weight, a, bias=None):
        blocks = [(a[i], e, columns) for i, e in enumerate(options)]
        return oracle.linear(x, weight, bias, blocks, [(a[i], e) for i, e in enumerate(options)])

    def mixed(x, weight, a, bias=None):
        return op(x, weight, bias, outputs=prefix_width("embed", a, options))

    assert_same_mixture(mixed, naive, leaves_of(seed, options[-1], columns, bias), {"a": len(options)}, dtype)


@ops
@dtypes
@few
@given(options=widths(), bias=st.booleans(), seed=seeds)
def test_both_by_one_choice(op: Op, dtype: torch.dtype, options: tuple[int, ...], bias: bool, seed: int):
    def naive(x, weight, a, bias=None):
        blocks = [(a[i], e, e) for i, e in enumerate(options)]
        return oracle.linear(x, weight, bias, blocks, [(a[i], e) for i, e in enumerate(options)])

    def mixed(x, weight, a, bias=None):
        width = prefix_width("embed", a, options)
        return op(x, weight, bias, width, width)

    assert_same_mixture(mixed, naive, leaves_of(seed, options[-1], options[-1], bias), {"a": len(options)}, dtype)


@ops
@dtypes
@few
@given(ins=widths(), outs=widths(), bias=st.booleans(), seed=seeds)
def test_two_choices(op: Op, dtype: torch.dtype, ins: tuple[int, ...], outs: tuple[int, ...], bias: bool, seed: int):
    def naive(x, weight, a, b, bias=None):
        blocks = [(a[i] * b[j], rows, columns) for i, columns in enumerate(ins) for j, rows in enumerate(outs)]
        return oracle.linear(x, weight, bias, blocks, [(b[j], rows) for j, rows in enumerate(outs)])

    def mixed(x, weight, a, b, bias=None):
        return op(x, weight, bias, prefix_width("in", a, ins), prefix_width("out", b, outs))

    leaves = leaves_of(seed, outs[-1], ins[-1], bias)
    assert_same_mixture(mixed, naive, leaves, {"a": len(ins), "b": len(outs)}, dtype)


def test_one_choice_with_two_lists_of_widths():
    """A choice may mean other widths at the input than at the output: its options still go together, pair by pair."""
    ins, outs = (2, 5, 6), (1, 3, 7)

    def naive(x, weight, bias, a):
        blocks = [(a[i], outs[i], ins[i]) for i in range(3)]
        return oracle.linear(x, weight, bias, blocks, [(a[i], outs[i]) for i in range(3)])

    def mixed(x, weight, bias, a):
        return linear(x, weight, bias, prefix_width("embed", a, ins), prefix_width("embed", a, outs))

    assert_same_mixture(mixed, naive, leaves_of(0, 7, 6), {"a": 3}, torch.float64)


@ops
@dtypes
@pytest.mark.parametrize("which", ["inputs", "outputs", "both", "two choices"])
def test_one_hot_mixture_slice_and_plain_linear_agree(op: Op, dtype: torch.dtype, which: str):
    ins, outs = (2, 3, 6), (1, 4, 5)
    if which == "both":
        outs = ins
    for i, j in product(range(3), range(3)):
        if which == "both" and i != j:
            continue
        columns = ins[-1] if which == "outputs" else ins[i]
        rows = outs[-1] if which == "inputs" else outs[j]
        names = ("embed", "embed") if which == "both" else ("in", "out")
        hot_in, hot_out = one_hot(i, 3).to(dtype), one_hot(j, 3).to(dtype)
        mixed_in = None if which == "outputs" else prefix_width(names[0], hot_in, ins)
        mixed_out = None if which == "inputs" else prefix_width(names[1], hot_out, outs)
        sliced_in = None if which == "outputs" else SlicedWidth(names[0], columns)
        sliced_out = None if which == "inputs" else SlicedWidth(names[1], rows)

        def plain(x, weight, bias, rows=rows, columns=columns):
            return F.linear(x[..., :columns], weight[:rows, :columns], bias[:rows])

        def sliced(x, weight, bias, columns=columns, sliced_in=sliced_in, sliced_out=sliced_out):
            return op(x[..., :columns], weight, bias, sliced_in, sliced_out)

        def mixed(x, weight, bias, rows=rows, mixed_in=mixed_in, mixed_out=mixed_out):
            y = op(x, weight, bias, mixed_in, mixed_out)
            assert not y[..., rows:].any()
            return y[..., :rows]

        leaves = leaves_of(3 * i + j, outs[-1], ins[-1])
        assert_same(sliced, plain, leaves, dtype)
        assert_same(mixed, plain, leaves, dtype)


@ops
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("index", range(3))
def test_factor_of_one_choice(op: Op, bias: bool, index: int):
    options = (2, 3, 6)
    embed = options[index]

    def naive(x, weight, a, bias=None):
        blocks = [(a[i], e, e) for i, e in enumerate(options)]
        return oracle.linear(x, weight, bias, blocks, [(a[i], e) for i, e in enumerate(options)])[..., :embed]

    def sliced(x, weight, a, bias=None):
        width = SlicedWidth("embed", embed, a)
        return op(x[..., :embed], weight, bias, width, width)

    assert_factors(sliced, naive, leaves_of(index, 6, 6, bias), {"a": (index, 3)})


@ops
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("i", "j"), [(0, 0), (0, 2), (1, 1), (2, 0)])
def test_factors_of_two_choices(op: Op, bias: bool, i: int, j: int):
    ins, outs = (2, 3, 6), (1, 4, 5)

    def naive(x, weight, a, b, bias=None):
        blocks = [(a[k] * b[m], outs[m], ins[k]) for k in range(3) for m in range(3)]
        return oracle.linear(x, weight, bias, blocks, [(b[m], outs[m]) for m in range(3)])[..., : outs[j]]

    def sliced(x, weight, a, b, bias=None):
        return op(x[..., : ins[i]], weight, bias, SlicedWidth("in", ins[i], a), SlicedWidth("out", outs[j], b))

    assert_factors(sliced, naive, leaves_of(i, 5, 6, bias), {"a": (i, 3), "b": (j, 3)})


@ops
@pytest.mark.parametrize("side", ["inputs", "outputs"])
def test_factor_of_one_side(op: Op, side: str):
    options, index = (2, 3, 6), 1

    def naive(x, weight, bias, a):
        if side == "inputs":
            return oracle.linear(x, weight, bias, [(a[i], 6, e) for i, e in enumerate(options)], [(1.0, 6)])
        blocks = [(a[i], e, 6) for i, e in enumerate(options)]
        return oracle.linear(x, weight, bias, blocks, [(a[i], e) for i, e in enumerate(options)])[..., : options[index]]

    def sliced(x, weight, bias, a):
        width = SlicedWidth("embed", options[index], a)
        if side == "inputs":
            return op(x[..., : options[index]], weight, bias, inputs=width)
        return op(x, weight, bias, outputs=width)

    assert_factors(sliced, naive, leaves_of(0, 6, 6), {"a": (index, 3)})


def test_without_widths_it_is_a_plain_linear():
    leaves = leaves_of(0, 4, 3)
    x, weight, bias = leaves["x"], leaves["weight"], leaves["bias"]
    assert torch.equal(linear(x, weight, bias), F.linear(x, weight, bias))


def test_one_dimension_mixed_and_the_other_sliced_is_refused():
    leaves = leaves_of(0, 3, 3)
    mixed, sliced = prefix_width("embed", torch.ones(2), (2, 3)), SlicedWidth("embed", 2)
    for inputs, outputs in ((mixed, sliced), (sliced, mixed)):
        with pytest.raises(TypeError, match="one dimension is mixed and the other sliced"):
            linear(leaves["x"], leaves["weight"], leaves["bias"], inputs, outputs)


def test_entangled_linear_is_a_linear_with_the_same_parameters():
    layer = EntangledLinear(6, 5)
    plain = torch.nn.Linear(6, 5)
    assert {n: p.shape for n, p in layer.state_dict().items()} == {n: p.shape for n, p in plain.state_dict().items()}
    x = torch.randn(2, 4)
    y = layer(x, SlicedWidth("in", 4), SlicedWidth("out", 3))
    torch.testing.assert_close(y, F.linear(x, layer.weight[:3, :4], layer.bias[:3]))


def test_tables_first_built_in_inference_mode_serve_training():
    """The 0/1 tables are cached: one made while evaluating must not poison a later backward pass."""
    options, weights = (3, 11, 17), torch.rand(3)  # widths that no other test uses, so that the cache is cold
    weight = torch.randn(17, 17)
    with torch.inference_mode():
        width = prefix_width("embed", weights, options)
        linear(torch.randn(2, 17), weight, None, width, width)
    alpha = torch.zeros(3, requires_grad=True)
    width = prefix_width("embed", alpha.softmax(-1), options)
    linear(torch.randn(2, 17), weight, None, width, width).sum().backward()
    assert alpha.grad is not None
    assert alpha.grad.abs().sum() > 0
