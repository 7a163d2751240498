"""The toy keeps the promises of the protocol, so that what the other tests find is the search's doing."""

import pytest
import torch
from knotwork_ops import HardSample, Mixture

from .toy import SPACES, Toy, every_architecture, one_batch, random_mixture


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_one_hot_mixture_is_the_sliced_architecture(space):
    toy, x = Toy(space).double(), one_batch()["x"].double()
    for architecture in every_architecture(space)[::5]:
        sliced = toy(x, architecture)
        torch.testing.assert_close(toy(x, Mixture.one_hot(space, architecture, dtype=torch.float64)), sliced)
        torch.testing.assert_close(toy(x, HardSample(architecture)), sliced)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_expected_cost_is_the_mean_over_all_architectures(space):
    toy, mixture = Toy(space), random_mixture(space, 0)
    expected = {"params": 0.0, "flops": 0.0}
    total = 0.0
    for architecture in every_architecture(space):
        one_hot, probability = Mixture.one_hot(space, architecture), 1.0
        for choice in space:
            rows, used = mixture[choice.name].view(-1, len(choice.options)), space.layers_used(choice, architecture) or 1
            probability *= float((rows * one_hot[choice.name].view_as(rows)).sum(-1)[:used].double().prod())
        total += probability
        for name, value in toy.cost(architecture).items():
            expected[name] += probability * float(value)
    assert total == pytest.approx(1, rel=1e-5)
    assert {name: float(value) for name, value in toy.cost(mixture).items()} == pytest.approx(expected, rel=1e-5)


def test_params_counts_the_parameters():
    toy = Toy()
    assert float(toy.cost(toy.space.largest)["params"]) == sum(parameter.numel() for parameter in toy.parameters())
