"""Invariants 1 and 2 of design.md, section 3, for cells: mixtures against an oracle, one-hot against the plain network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from knotwork_ops import HardSample, Mixture
from knotwork_spaces.cells import OPERATIONS, ToyCellSpace, plain_model
from torch import Tensor

from . import cells_oracle
from .cells_cases import cells_supernet, images, tiny_cells, with_batch_statistics
from .comparison import DTYPES, assert_all_close, assert_close, gradients, one_hot, random_alphas, some_architectures
from .family_checks import (
    assert_extraction_copies,
    assert_extraction_draws_nothing,
    assert_factors_get_the_chosen_gradient,
    assert_whole,
)

FEW = {"normal_0_1": ["sep_conv_3x3"], "reduce_0_1": ["dil_conv_3x3", "sep_conv_3x3"], "reduce_1_2": ["dil_conv_5x5"]}
"""Edges with one kind, with one size of each, and with one operation."""
SPACES = {"all": {}, "few": FEW}

spaces = pytest.mark.parametrize("kind", SPACES)


def naive(space: ToyCellSpace, image: Tensor, parameters: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Tensor:
    return cells_oracle.logits(parameters, image, {c.name: [str(o) for o in c.options] for c in space}, weights)


@spaces
@pytest.mark.parametrize("raw", [False, True], ids=["alphas", "raw weights"])
def test_mixture_equals_naive_sum(kind: str, raw: bool):
    """Raw weights do not sum to one, which shows what each of them multiplies."""

    def weights_of(alphas: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: alpha.abs() + 0.1 if raw else alpha.softmax(-1) for name, alpha in alphas.items()}

    space = tiny_cells(**SPACES[kind])
    parameters, alphas = dict(cells_supernet(space).named_parameters()), random_alphas(space)
    image = images(space).requires_grad_()
    expected = naive(space, image, parameters, weights_of(alphas))
    wanted = gradients(expected, {**parameters, **alphas, "image": image})
    supernet, alphas = cells_supernet(space), random_alphas(space)
    value = supernet.logits(image, Mixture(space, weights_of(alphas)))
    assert_close(value, expected, "logits")
    assert_all_close(gradients(value, {**dict(supernet.named_parameters()), **alphas, "image": image}), wanted)


@spaces
@pytest.mark.parametrize("dtype", DTYPES)
def test_one_hot_sliced_and_extracted_agree(kind: str, dtype: torch.dtype):
    space = tiny_cells(**SPACES[kind])
    supernet, image = cells_supernet(space, dtype), images(space, dtype)
    parameters = dict(supernet.named_parameters())
    for arch in some_architectures(space):
        sliced, mixed = supernet.logits(image, arch), supernet.logits(image, one_hot(space, arch, dtype))
        model = with_batch_statistics(supernet.extract(arch))
        assert_close(sliced, model(image), f"sliced {arch}")
        assert_close(mixed, model(image), f"one-hot {arch}")
        if dtype == torch.float64:
            assert_all_close(gradients(sliced, parameters), gradients(mixed, parameters))


@spaces
def test_factors_get_the_gradient_of_the_chosen_option(kind: str):
    space = tiny_cells(**SPACES[kind])
    supernet, image = cells_supernet(space), images(space)
    parameters = dict(supernet.named_parameters())
    for arch in some_architectures(space, 1):
        assert_factors_get_the_chosen_gradient(supernet, arch, image, lambda weights: naive(space, image, parameters, weights))


def test_a_hard_sample_without_factors_is_its_architecture():
    space = tiny_cells()
    supernet, image = cells_supernet(space), images(space)
    assert torch.equal(supernet.logits(image, HardSample(space.smallest)), supernet.logits(image, space.smallest))


def test_a_sliced_net_touches_its_own_weights_only():
    space = tiny_cells()
    supernet, image = cells_supernet(space), images(space)
    supernet.loss({"image": image, "label": torch.tensor([0, 1, 2])}, space.smallest).backward()
    touched = {name for name, parameter in supernet.named_parameters() if parameter.grad is not None}
    assert touched == {name for name, _ in plain_model(space, space.smallest).named_parameters()}


def test_frozen_weights_get_no_gradient():
    space = tiny_cells()
    supernet, alphas = cells_supernet(space).requires_grad_(False), random_alphas(space)
    mixture = Mixture(space, {name: alpha.softmax(-1) for name, alpha in alphas.items()})
    supernet.loss({"image": images(space), "label": torch.tensor([0, 1, 2])}, mixture).backward()
    assert all(alpha.grad is not None and alpha.grad.abs().sum() > 0 for alpha in alphas.values())
    assert all(parameter.grad is None for parameter in supernet.parameters())


def test_the_supernet_keeps_no_statistics_and_uses_the_batchs_in_both_modes():
    space = tiny_cells()
    supernet, image = cells_supernet(space), images(space)
    assert not list(supernet.buffers())
    evaluated = supernet.logits(image, space.largest)
    assert torch.equal(supernet.train().logits(image, space.largest), evaluated)
    assert not torch.equal(supernet.logits(image[:2], space.largest), evaluated[:2])


def test_names_and_shapes_are_the_plain_networks():
    """Invariant 3: of the largest operation of either kind, all names and shapes; of others, kernels are windows."""
    space = tiny_cells()
    state: dict[str, Any] = {name: tuple(tensor.shape) for name, tensor in cells_supernet(space).state_dict().items()}
    plain = {}
    for name in ("dil_conv_5x5", "sep_conv_5x5"):
        model = plain_model(space, space.architecture(dict.fromkeys(space.choice_names, name)))
        plain |= {parameter: tuple(tensor.shape) for parameter, tensor in model.named_parameters()}
    assert state == plain
    small = dict(plain_model(space, space.smallest).named_parameters())
    assert set(small) < set(state)
    different = {name for name, parameter in small.items() if parameter.shape != state[name]}
    assert different == {name for name in small if "depthwise" in name}


def test_extraction():
    supernet = cells_supernet(tiny_cells())
    assert_extraction_draws_nothing(supernet)
    assert_extraction_copies(supernet)
    assert_whole(supernet.extract(supernet.space.smallest))
    assert supernet.train().extract(supernet.space.smallest).training


def test_autocast_stays_close_to_float32():
    space = tiny_cells()
    supernet, image = cells_supernet(space, torch.float32), images(space, torch.float32)
    alphas = random_alphas(space, torch.float32)
    for arch in (Mixture(space, {name: a.detach().softmax(-1) for name, a in alphas.items()}), space.smallest):
        exact = supernet.logits(image, arch)
        with torch.autocast("cpu", torch.bfloat16):
            assert (supernet.logits(image, arch).float() - exact).abs().max() < 0.1 * exact.abs().max()


def test_images_of_another_size_are_refused():
    space = tiny_cells()
    with pytest.raises(ValueError, match=r"images are \(2, 8, 8\), but the space's \(2, 7, 7\) \(channels, height, width\)"):
        cells_supernet(space).logits(torch.zeros(3, 2, 8, 8, dtype=torch.float64), space.smallest)


def test_architectures_of_another_space_are_refused():
    space, other = tiny_cells(**FEW), tiny_cells()
    for use in (cells_supernet(space).extract, lambda arch: cells_supernet(space).logits(images(space), arch)):
        with pytest.raises(ValueError, match=r"choice 'normal_0_1' cannot be 'sep_conv_5x5': allowed are \['sep_conv_3x3'\]"):
            use(other.largest)
    assert set(OPERATIONS) == set(other["normal_0_1"].options)
