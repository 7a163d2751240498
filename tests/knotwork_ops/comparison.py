"""Comparing two ways to compute the same thing, by value and by gradient; and the random cases they are compared on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
DTYPES = list(TOLERANCE)

few = settings(max_examples=20, derandomize=True, deadline=None)
"""Few, because each example runs forward and backward four times; the same at every run, so that a failure is a change."""

seeds = st.integers(0, 2**31 - 1)


def widths(smallest: int = 1, largest: int = 9, most: int = 3) -> st.SearchStrategy[tuple[int, ...]]:
    """Ascending options."""
    return st.sets(st.integers(smallest, largest), min_size=1, max_size=most).map(lambda options: tuple(sorted(options)))


def tensors(seed: int, **shapes: Sequence[int]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(*shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()}


def one_hot(index: int, size: int) -> Tensor:
    return torch.eye(size, dtype=torch.float64)[index]


def assert_close(actual: Tensor, expected: Tensor, tolerance: float, what: str) -> None:
    """Relative to the largest entry, or to one: the cases are of order one, and some gradients cancel to nothing."""
    assert actual.shape == expected.shape, f"{what}: {tuple(actual.shape)} is not {tuple(expected.shape)}"
    error = (actual.double() - expected.double()).abs().amax().item()
    bound = tolerance * max(expected.abs().amax().item(), 1.0)
    assert error <= bound, f"{what} is off by {error:.3g}, allowed {bound:.3g}:\n{actual}\n{expected}"


def value_and_gradients(
    function: Callable[..., Tensor], leaves: Mapping[str, Tensor], dtype: torch.dtype, seed: int = 0
) -> tuple[Tensor, dict[str, Tensor]]:
    """The function's value, and the gradients of its inner product with a fixed random tensor."""
    inputs = {name: leaf.detach().to(dtype).requires_grad_() for name, leaf in leaves.items()}
    value = function(**inputs)
    generator = torch.Generator().manual_seed(seed)
    cotangent = torch.randn(value.shape, generator=generator, dtype=torch.float64).to(dtype)
    gradients = torch.autograd.grad(value, list(inputs.values()), cotangent, allow_unused=True, materialize_grads=True)
    return value.detach(), dict(zip(inputs, gradients, strict=True))


def assert_same(
    actual: Callable[..., Tensor], expected: Callable[..., Tensor], leaves: Mapping[str, Tensor], dtype: torch.dtype
) -> None:
    """Equal values, and equal gradients of every leaf; what is expected is computed in float64."""
    value, gradients = value_and_gradients(actual, leaves, dtype)
    assert value.dtype == dtype
    expected_value, expected_gradients = value_and_gradients(expected, leaves, torch.float64)
    assert_close(value, expected_value, TOLERANCE[dtype], "value")
    for name, gradient in gradients.items():
        assert_close(gradient, expected_gradients[name], TOLERANCE[dtype], f"gradient of {name}")


def assert_same_mixture(
    actual: Callable[..., Tensor],
    expected: Callable[..., Tensor],
    leaves: Mapping[str, Tensor],
    mixtures: Mapping[str, int],
    dtype: torch.dtype,
) -> None:
    """``assert_same`` with mixture weights among the leaves: once given raw, once as the softmax of alphas.

    Raw weights do not sum to one, which shows what each of them multiplies; ``mixtures`` maps their names to option counts.
    """
    alphas = tensors(1, **{name: (count,) for name, count in mixtures.items()})

    def through_softmax(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda **given: function(**{n: g.softmax(-1) if n in mixtures else g for n, g in given.items()})

    assert_same(actual, expected, {**leaves, **{name: alpha.abs() + 0.1 for name, alpha in alphas.items()}}, dtype)
    assert_same(through_softmax(actual), through_softmax(expected), {**leaves, **alphas}, dtype)


def assert_factors(
    sliced: Callable[..., Tensor],
    naive: Callable[..., Tensor],
    leaves: Mapping[str, Tensor],
    chosen: Mapping[str, tuple[int, int]],
) -> None:
    """Straight-through factors get the gradient of the chosen option's weight in the naive sum, where it alone is one.

    Args:
        sliced: takes the leaves and one scalar factor for each name in ``chosen``.
        naive: takes the leaves and mixture weights of the same names, and returns the units that ``sliced`` does.
        leaves: the other arguments.
        chosen: (index of the chosen option, number of options) of each choice.
    """
    factors = {name: torch.ones((), dtype=torch.float64) for name in chosen}
    mixtures = {name: one_hot(index, count) for name, (index, count) in chosen.items()}
    value, gradients = value_and_gradients(sliced, {**leaves, **factors}, torch.float64)
    expected_value, expected = value_and_gradients(naive, {**leaves, **mixtures}, torch.float64)
    assert_close(value, expected_value, 1e-10, "value")
    for name, (index, _) in chosen.items():
        assert_close(gradients[name], expected[name][index], 1e-10, f"factor of {name}")
    for name in leaves:
        assert_close(gradients[name], expected[name], 1e-10, f"gradient of {name}")
