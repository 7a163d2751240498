"""What holds for the supernet of every family, checked in one place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from knotwork_ops import Architecture, HardSample, SearchSpace
from torch import Tensor, nn

from .comparison import assert_all_close, assert_close, gradients, one_hot, some_architectures


def sample_with_factors(space: SearchSpace, arch: Architecture) -> HardSample:
    """Factors of value one: a scalar a choice, or one for each of the space's layers, used or not."""
    return HardSample(arch, {c.name: torch.ones(c.shape[:-1], dtype=torch.float64, requires_grad=True) for c in space})


def storages(module: nn.Module) -> set[int]:
    return {tensor.untyped_storage().data_ptr() for tensor in (*module.parameters(), *module.buffers())}


def assert_extraction_draws_nothing(supernet: Any) -> None:
    before = torch.get_rng_state()
    for arch in some_architectures(supernet.space):
        supernet.extract(arch)
    assert torch.equal(torch.get_rng_state(), before)


def assert_extraction_copies(supernet: Any) -> None:
    largest = supernet.space.largest
    before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    first, second = supernet.extract(largest), supernet.extract(largest)
    assert not storages(first) & storages(supernet)
    assert not storages(first) & storages(second)
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.zero_()
    assert all(torch.equal(tensor, before[name]) for name, tensor in supernet.state_dict().items())


def assert_whole(model: nn.Module) -> None:
    """An extracted float64 model is one to train: its own leaves, none left on the meta device."""
    assert all(p.requires_grad and p.is_leaf and p.is_contiguous() for p in model.parameters())
    assert not any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))
    assert all(p.dtype == torch.float64 for p in model.parameters())


def assert_factors_get_the_chosen_gradient(
    supernet: Any, arch: Architecture, inputs: Tensor, naive: Callable[[dict[str, Tensor]], Tensor]
) -> None:
    """A factor's gradient is that of the chosen option's weight in the naive mixture.

    Args:
        supernet: of any family.
        arch: the architecture, run as a hard sample with factors.
        inputs: what ``logits`` takes.
        naive: the naive logits of mixture weights.
    """
    parameters = dict(supernet.named_parameters())
    sample = sample_with_factors(supernet.space, arch)
    value = supernet.logits(inputs, sample)
    found = gradients(value, {**parameters, **sample.factors})
    weights = {name: weight.requires_grad_() for name, weight in one_hot(supernet.space, arch).items()}
    expected_value = naive(weights)
    expected = gradients(expected_value, {**parameters, **weights})
    for name, weight in weights.items():
        # The chosen option is the one of weight one; in unused layers its gradient is zero on both sides.
        expected[name] = (expected[name] * weight).sum(-1)
    assert_close(value, expected_value, "logits")
    assert_all_close(found, expected)
