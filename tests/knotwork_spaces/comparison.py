"""The spaces and supernets that the tests compare on, and how close is close."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from knotwork_ops import DEPTH, Architecture, Choice, Mixture, SearchSpace
from knotwork_spaces._compile import OLDEST
from knotwork_spaces.gpt2 import GPT2Space, GPT2Supernet
from torch import Tensor
from torch.torch_version import TorchVersion

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
DTYPES = list(TOLERANCE)
GRANULARITIES = {"uniform": (), "per_layer": ("num_heads", "mlp_ratio")}

few = settings(max_examples=6, derandomize=True, deadline=None)
"""Few, because each example is a whole network; the same at every run, so that a failure is a change."""

compiling = pytest.mark.skipif(TorchVersion(torch.__version__) < OLDEST, reason=f"compiling needs torch {OLDEST}")


def tiny_space(per_layer: Sequence[str] = (), **changes: Any) -> GPT2Space:
    """Three widths, and depths that leave one out, so that neither the order nor the gaps of options can be mistaken."""
    values: dict[str, Any] = {
        "embed_dim": [8, 16, 24],
        "depth": [1, 3],
        "num_heads": [1, 2, 4],
        "mlp_ratio": [0.5, 1.25, 3],
        "vocab_size": 13,
        "block_size": 7,
    }
    return GPT2Space.build(**{**values, "per_layer": per_layer, **changes})


def ascending(options: Sequence[float]) -> st.SearchStrategy[list[float]]:
    return st.sets(st.sampled_from(options), min_size=1, max_size=3).map(sorted)


@st.composite
def spaces(draw: st.DrawFn) -> GPT2Space:
    return tiny_space(
        sorted(draw(st.sets(st.sampled_from(GPT2Space.per_layer_choices)))),
        embed_dim=draw(ascending([4, 8, 12, 20])),
        depth=draw(ascending([1, 2, 3])),
        num_heads=draw(ascending([1, 2, 4])),
        mlp_ratio=draw(ascending([0.5, 1, 2.25, 3])),
    )


def spread_supernet(space: GPT2Space, dtype: torch.dtype = torch.float64, seed: int = 0) -> GPT2Supernet:
    """A supernet in eval mode whose weights, biases and norms included, are far from their neat initial values.

    They are drawn in float32, so that nets of both precisions hold the same.
    """
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        supernet = GPT2Supernet(space).eval()
        for parameter in supernet.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return supernet.to(dtype)


def token_ids(space: Any, batch: int = 2, seed: int = 0) -> Tensor:
    return torch.randint(space.vocab_size, (batch, space.block_size), generator=torch.Generator().manual_seed(seed))


def random_alphas(space: SearchSpace, dtype: torch.dtype = torch.float64, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {c.name: torch.randn(c.shape, generator=generator).to(dtype).requires_grad_() for c in space}


def random_architecture(space: SearchSpace, rng: random.Random) -> Architecture:
    depth = {DEPTH: rng.choice(space[DEPTH].options)} if DEPTH in space else {}

    def value(choice: Choice):
        return (
            [rng.choice(choice.options) for _ in range(int(depth[DEPTH]))] if choice.per_layer else rng.choice(choice.options)
        )

    return space.architecture({**{choice.name: value(choice) for choice in space}, **depth})


def some_architectures(space: SearchSpace, count: int = 3) -> list[Architecture]:
    """The smallest, the largest and ``count`` random ones."""
    rng = random.Random(0)
    return [space.smallest, space.largest, *(random_architecture(space, rng) for _ in range(count))]


def every_architecture(space: SearchSpace, mixture: Mixture) -> Iterator[tuple[Architecture, float]]:
    """All architectures with their probabilities; what unused layers chose is summed over by leaving it out."""
    names = [choice.name for choice in space if choice.name != DEPTH]
    for depth, chance in zip(space[DEPTH].options, mixture[DEPTH].tolist(), strict=True):
        axes: list[list[tuple[object, float]]] = []
        for name in names:
            choice = space[name]
            if not choice.per_layer:
                axes.append(list(zip(choice.options, mixture[name].tolist(), strict=True)))
                continue
            rows = mixture[name].tolist()[: int(depth)]
            picks = itertools.product(*(zip(choice.options, row, strict=True) for row in rows))
            axes.append([([o for o, _ in pick], math.prod(p for _, p in pick)) for pick in picks])
        for picks in itertools.product(*axes):
            values = {name: option for name, (option, _) in zip(names, picks, strict=True)}
            yield space.architecture({**values, DEPTH: depth}), chance * math.prod(share for _, share in picks)


def option_lists(space: SearchSpace) -> dict[str, Sequence[float]]:
    return {choice.name: choice.numbers for choice in space}


def one_hot(space: SearchSpace, architecture: Architecture, dtype: torch.dtype = torch.float64) -> Mixture:
    return Mixture.one_hot(space, architecture, dtype=dtype)


def gradients(value: Tensor, leaves: Mapping[str, Tensor], cotangent: Tensor | None = None) -> dict[str, Tensor]:
    """Gradients of the value's inner product with a fixed random tensor; zeros for leaves it does not depend on."""
    if cotangent is None:
        cotangent = torch.randn(value.shape, generator=torch.Generator().manual_seed(1))
    outer = cotangent.to(value.dtype)
    found = torch.autograd.grad(value, list(leaves.values()), outer, allow_unused=True, materialize_grads=True)
    return dict(zip(leaves, found, strict=True))


def assert_close(actual: Tensor, expected: Tensor, what: str) -> None:
    """Relative to the largest entry, or to one: some gradients cancel to nothing. As close as ``actual``'s dtype allows."""
    assert actual.shape == expected.shape, f"{what}: {tuple(actual.shape)} is not {tuple(expected.shape)}"
    error = (actual.double() - expected.double()).abs().amax().item()
    bound = TOLERANCE[actual.dtype] * max(expected.abs().amax().item(), 1.0)
    assert error <= bound, f"{what} is off by {error:.3g}, allowed {bound:.3g}:\n{actual}\n{expected}"


def assert_all_close(actual: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    assert actual.keys() == expected.keys()
    for name, tensor in actual.items():
        assert_close(tensor, expected[name], f"gradient of {name}")
