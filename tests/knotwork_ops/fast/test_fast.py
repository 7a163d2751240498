"""Each fused formulation against the plain one beside it: values, and the gradients of all three kinds of step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from knotwork_ops._fast import _cross_entropy, _masked_linear, _mixed_norm, _mixed_rms_norm
from torch import Tensor

from ..comparison import DTYPES, assert_close, few, seeds, tensors, widths

MODES = ("joint", "weight", "architecture")
dtypes = pytest.mark.parametrize("dtype", DTYPES)
modes = pytest.mark.parametrize("mode", MODES)
TOLERANCE = {torch.float64: 1e-10, torch.float32: 2e-5}


def gradients(function: Callable[..., Tensor], inputs: Mapping[str, Tensor], wanted: set[str]) -> dict[str, Tensor]:
    """The value, and the gradients of what is wanted alone: the other inputs need none."""
    leaves = {name: tensor.clone().requires_grad_(name in wanted) for name, tensor in inputs.items()}
    value = function(**leaves)
    cotangent = torch.randn(value.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(value.dtype)
    value.backward(cotangent)
    return {"value": value.detach(), **{name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}}


def assert_equal(
    fast: Callable[..., Any],
    plain: Callable[..., Any],
    inputs: Mapping[str, Tensor],
    mode: str,
    dtype: torch.dtype,
    *,
    mixed: set[str],
) -> None:
    """The input always needs a gradient; weights do not in an architecture step, mixtures do not in a weight step."""
    wanted = {"x"} | (set(inputs) - mixed - {"x"} if mode != "architecture" else set()) | (mixed if mode != "weight" else set())
    found = gradients(fast, {name: tensor.to(dtype) for name, tensor in inputs.items()}, wanted)
    expected = gradients(plain, inputs, wanted)
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        assert tensor.dtype == dtype
        assert_close(tensor, expected[name], TOLERANCE[dtype], name)


@dtypes
@modes
@few
@given(rows=widths(most=4), columns=widths(most=4), stored_transposed=st.booleans(), bias=st.booleans(), seed=seeds)
def test_masked_linear(
    mode: str,
    dtype: torch.dtype,
    rows: tuple[int, ...],
    columns: tuple[int, ...],
    stored_transposed: bool,
    bias: bool,
    seed: int,
):
    shape = (columns[-1], rows[-1]) if stored_transposed else (rows[-1], columns[-1])
    inputs = tensors(seed, x=(2, 3, columns[-1]), weight=shape, bias=(rows[-1],), mask=(len(rows), len(columns)))
    if not bias:
        del inputs["bias"]

    def run(operation: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def function(x: Tensor, weight: Tensor, mask: Tensor, bias: Tensor | None = None) -> Tensor:
            return operation(x, weight.t() if stored_transposed else weight, bias, mask, rows, columns)

        return function

    fast, plain = run(_masked_linear.masked_linear), run(_masked_linear.plain_masked_linear)
    assert_equal(fast, plain, inputs, mode, dtype, mixed={"mask"})


def test_many_rows_of_an_architecture_step_are_taken_piece_by_piece():
    inputs = tensors(0, x=(2 * _masked_linear.ROWS_AT_ONCE + 3, 4), weight=(6, 4), bias=(6,), mask=(2, 2))
    operations = (_masked_linear.masked_linear, _masked_linear.plain_masked_linear)
    fast, plain = (lambda operation=o, **given: operation(**given, rows=(2, 6), columns=(3, 4)) for o in operations)
    assert_equal(fast, plain, inputs, "architecture", torch.float64, mixed={"mask"})


def test_the_gradient_of_a_weight_is_laid_out_as_the_weight_is():
    x, mask = torch.randn(3, 4), torch.rand(2, 2)
    weight = torch.randn(4, 6, requires_grad=True)
    _masked_linear.masked_linear(x, weight.t(), None, mask, (2, 6), (3, 4)).sum().backward()
    assert weight.grad is not None
    assert weight.grad.stride() == weight.stride()


@dtypes
@modes
@few
@given(prefixes=widths(), seed=seeds)
def test_mixed_norm(mode: str, dtype: torch.dtype, prefixes: tuple[int, ...], seed: int):
    size = prefixes[-1]
    inputs = tensors(seed, x=(2, 3, size), shares=(len(prefixes),), weight=(size,), bias=(size,))
    # Two units may happen to lie so close that their variance is no larger than float32's rounding; a large eps bears that.
    fast, plain = (
        lambda operation=o, **given: operation(**given, prefixes=prefixes, eps=0.1)
        for o in (_mixed_norm.mixed_norm, _mixed_norm.plain_mixed_norm)
    )
    assert_equal(fast, plain, inputs, mode, dtype, mixed={"shares"})


@dtypes
@modes
@few
@given(prefixes=widths(), seed=seeds)
def test_mixed_rms_norm(mode: str, dtype: torch.dtype, prefixes: tuple[int, ...], seed: int):
    inputs = tensors(seed, x=(2, 3, prefixes[-1]), shares=(len(prefixes),), weight=(prefixes[-1],))
    fast, plain = (
        lambda operation=o, **given: operation(**given, prefixes=prefixes, eps=0.1)
        for o in (_mixed_rms_norm.mixed_rms_norm, _mixed_rms_norm.plain_mixed_rms_norm)
    )
    assert_equal(fast, plain, inputs, mode, dtype, mixed={"shares"})


@dtypes
@modes
@pytest.mark.parametrize("at_once", [1, 20, 2**24])
@few
@given(rows=st.integers(1, 40), classes=st.integers(1, 9), columns=st.integers(1, 5), unread=st.integers(0, 2), seed=seeds)
def test_cross_entropy(
    mode: str, dtype: torch.dtype, at_once: int, rows: int, classes: int, columns: int, unread: int, seed: int
):
    """Of up to three parts, which have sixteen rows or more."""
    inputs = tensors(seed, x=(rows, columns), weight=(classes, columns + unread))
    targets = torch.randint(classes, (rows,), generator=torch.Generator().manual_seed(seed))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_cross_entropy, "LOGITS_AT_ONCE", at_once)
        fast, plain = (
            lambda operation=o, **given: operation(**given, targets=targets)
            for o in (_cross_entropy.fused_cross_entropy, _cross_entropy.plain_cross_entropy)
        )
        assert_equal(fast, plain, inputs, mode, dtype, mixed=set())


@dtypes
@modes
@pytest.mark.parametrize("at_once", [20, 2**24])
@few
@given(rows=st.integers(1, 40), classes=st.integers(1, 9), columns=st.integers(1, 5), taught=st.integers(1, 5), seed=seeds)
def test_cross_entropy_from_a_teacher(
    mode: str, dtype: torch.dtype, at_once: int, rows: int, classes: int, columns: int, taught: int, seed: int
):
    """The teacher reads a wider or narrower part of the same weight, and neither it nor what it reads learns from that."""
    inputs = tensors(seed, x=(rows, columns), weight=(classes, 5))
    teacher = tensors(seed + 1, teacher=(rows, taught))["teacher"].to(dtype).requires_grad_()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_cross_entropy, "LOGITS_AT_ONCE", at_once)
        fast, plain = (
            lambda operation=o, **given: operation(**given, targets=teacher)
            for o in (_cross_entropy.fused_cross_entropy, _cross_entropy.plain_cross_entropy)
        )
        assert_equal(fast, plain, inputs, mode, dtype, mixed=set())
    assert teacher.grad is None


def test_cross_entropy_of_huge_logits_is_finite():
    x, weight = torch.full((2, 1), 1e4), torch.tensor([[1.0], [-1.0]], requires_grad=True)
    loss = _cross_entropy.fused_cross_entropy(x, weight, torch.tensor([0, 1]))
    loss.backward()
    assert loss.item() == pytest.approx(1e4)
    assert weight.grad is not None
    assert weight.grad.isfinite().all()


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=str)
def test_cross_entropy_in_half_precision(half: torch.dtype):
    """A thousand rows share the gradient: float16 could not hold what each gets, were it not for the loss's scale."""
    inputs = tensors(0, x=(1000, 16), weight=(64, 16))
    targets, scale = torch.randint(64, (1000,), generator=torch.Generator().manual_seed(0)), 2.0**16
    found, expected = [], []
    for operation, dtype, into in (
        (_cross_entropy.fused_cross_entropy, half, found),
        (_cross_entropy.plain_cross_entropy, torch.float64, expected),
    ):
        x, weight = (tensor.to(half).to(dtype).requires_grad_() for tensor in inputs.values())
        (operation(x, weight, targets) * scale).backward()
        into.extend([x.grad.double(), weight.grad.double()])  # type: ignore[union-attr]
    for one, other in zip(found, expected, strict=True):
        assert (one - other).norm() / other.norm() < 0.03


def leaves(**shapes: tuple[int, ...]) -> tuple[Tensor, ...]:
    return tuple(tensor.requires_grad_() for tensor in tensors(0, **shapes).values())


def test_gradcheck_of_the_masked_linear_map():
    rows, columns = (2, 3, 6), (2, 5)

    def function(x: Tensor, weight: Tensor, bias: Tensor, mask: Tensor) -> Tensor:
        return _masked_linear.masked_linear(x, weight, bias, mask, rows, columns)

    x, weight, bias, mask = leaves(x=(4, 5), weight=(6, 5), bias=(6,), mask=(3, 2))
    assert torch.autograd.gradcheck(function, (x, weight, bias, mask))
    assert torch.autograd.gradcheck(lambda x, mask: function(x, weight.detach(), bias.detach(), mask), (x, mask))


def test_gradcheck_of_the_mixed_norm():
    def function(x: Tensor, shares: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return _mixed_norm.mixed_norm(x, shares, weight, bias, (2, 3, 6), 1e-3)

    assert torch.autograd.gradcheck(function, leaves(x=(2, 3, 6), shares=(3,), weight=(6,), bias=(6,)))


def test_gradcheck_of_the_mixed_rms_norm():
    def function(x: Tensor, shares: Tensor, weight: Tensor) -> Tensor:
        return _mixed_rms_norm.mixed_rms_norm(x, shares, weight, (2, 3, 6), 1e-3)

    assert torch.autograd.gradcheck(function, leaves(x=(2, 3, 6), shares=(3,), weight=(6,)))


def test_gradcheck_of_the_cross_entropy():
    def function(x: Tensor, weight: Tensor) -> Tensor:
        return _cross_entropy.fused_cross_entropy(x, weight, torch.tensor([0, 3, 1]))

    assert torch.autograd.gradcheck(function, leaves(x=(3, 4), weight=(5, 4)))
