"""A weight with a low-rank update is mixed and sliced as the plain weight that it is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from knotwork_ops import AdaptedWeight, SlicedWidth, Width, conv1d, joint_width, linear, prefix_width, take_columns, take_rows
from torch import Tensor

from .comparison import DTYPES, assert_same, tensors

SCALE, OPTIONS, OTHERS = 0.5, (2, 3, 6), (1, 4, 5)
Widths = tuple[Width | None, Width | None]


def joint(a: Tensor, b: Tensor) -> Width:
    return joint_width(prefix_width("embed", a, OPTIONS), b, [(1, 2), (2, 3), (4, 5)])


MIXED: dict[str, Callable[[Tensor, Tensor], Widths]] = {
    "none": lambda a, b: (None, None),
    "inputs": lambda a, b: (prefix_width("embed", a, OPTIONS), None),
    "outputs": lambda a, b: (None, prefix_width("embed", a, OTHERS)),
    "one choice": lambda a, b: (prefix_width("embed", a, OPTIONS), prefix_width("embed", a, OTHERS)),
    "joint outputs": lambda a, b: (prefix_width("embed", a, OPTIONS), joint(a, b)),
    "two choices": lambda a, b: (prefix_width("in", a, OPTIONS), prefix_width("out", a, OTHERS)),
}
SLICED: dict[str, Callable[[Tensor, Tensor], Widths]] = {
    "inputs": lambda a, b: (SlicedWidth("embed", 3, a), None),
    "outputs": lambda a, b: (None, SlicedWidth("embed", 4, a)),
    "one choice": lambda a, b: (SlicedWidth("embed", 3, a), SlicedWidth("embed", 4, a)),
    "joint outputs": lambda a, b: (SlicedWidth("embed", 3, a), SlicedWidth("embed", 3, a, b)),
    "two choices": lambda a, b: (SlicedWidth("in", 3, a), SlicedWidth("out", 4, b)),
}


def leaves_of(columns: int) -> dict[str, Tensor]:
    return tensors(0, x=(2, 3, columns), base=(5, 6), up=(5, 2), down=(2, 6), bias=(5,))


@pytest.mark.parametrize("transposed", [False, True], ids=["linear", "conv1d"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    ("widths", "sliced"),
    [*((widths, False) for widths in MIXED.values()), *((widths, True) for widths in SLICED.values())],
    ids=[*(f"mixed {name}" for name in MIXED), *(f"sliced {name}" for name in SLICED)],
)
def test_equals_the_merged_weight(
    widths: Callable[[Tensor, Tensor], Widths], sliced: bool, dtype: torch.dtype, transposed: bool
):
    def adapted(x, base, up, down, bias, a, b):
        if transposed:
            return conv1d(x, AdaptedWeight(base.t().contiguous(), down.t(), up.t(), SCALE), bias, *widths(a, b))
        return linear(x, AdaptedWeight(base, up, down, SCALE), bias, *widths(a, b))

    def merged(x, base, up, down, bias, a, b):
        return linear(x, base + SCALE * up @ down, bias, *widths(a, b))

    one = torch.ones((), dtype=torch.float64)
    shares = {"a": one, "b": one} if sliced else tensors(1, a=(3,), b=(2,))
    columns = 3 if sliced and widths(one, one)[0] is not None else 6
    assert_same(adapted, merged, {**leaves_of(columns), **shares}, dtype)


def test_merged_and_transposed():
    leaves = leaves_of(6)
    weight = AdaptedWeight(leaves["base"], leaves["up"], leaves["down"], SCALE)
    torch.testing.assert_close(weight.merged(), leaves["base"] + SCALE * leaves["up"] @ leaves["down"])
    torch.testing.assert_close(weight.t().merged(), weight.merged().t())


def test_rows_and_columns():
    leaves = leaves_of(6)
    weight = AdaptedWeight(leaves["base"], leaves["up"], leaves["down"], SCALE)
    rows, columns = take_rows(weight, lambda tensor: tensor[::2]), take_columns(weight, lambda tensor: tensor[:, 1:3])
    assert isinstance(rows, AdaptedWeight)
    assert isinstance(columns, AdaptedWeight)
    torch.testing.assert_close(rows.merged(), weight.merged()[::2])
    torch.testing.assert_close(columns.merged(), weight.merged()[:, 1:3])
    plain = take_columns(take_rows(leaves["base"], lambda tensor: tensor[::2]), lambda tensor: tensor[:, 1:3])
    assert isinstance(plain, Tensor)
    assert torch.equal(plain, leaves["base"][::2, 1:3])


@pytest.mark.parametrize("widths", MIXED.values(), ids=MIXED)
def test_a_frozen_base_keeps_nothing_of_its_size(widths: Callable[[Tensor, Tensor], Widths]):
    """Neither the merged weight nor the masked one waits for the backward pass: only the base itself, which is there anyway."""
    x, base = torch.randn(2, 6), torch.randn(5, 6)
    weight = AdaptedWeight(base, torch.zeros(5, 1, requires_grad=True), torch.randn(1, 6, requires_grad=True), 2.0)
    kept: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    shares = torch.rand(3), torch.rand(2)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        linear(x, weight, torch.randn(5), *widths(*shares))
    large = {tensor.untyped_storage().data_ptr() for tensor in kept if tensor.numel() >= base.numel()}
    assert large <= {base.untyped_storage().data_ptr()}
