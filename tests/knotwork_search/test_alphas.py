import pytest
import torch
from knotwork_ops import Mixture
from knotwork_search import entropy, initial_alphas, most_likely, seeded, uniform_mixture
from knotwork_search._sampling import architecture_at, draw_architecture

from .toy import PER_LAYER, random_mixture, same


def test_initial_alphas_are_small_leaves_of_each_choice():
    alphas = initial_alphas(PER_LAYER, seed=3)
    assert {name: tuple(alpha.shape) for name, alpha in alphas.items()} == {"width": (3,), "depth": (3,), "ratio": (3, 3)}
    assert all(alpha.is_leaf and alpha.requires_grad and alpha.abs().max() < 0.01 for alpha in alphas.values())
    assert same(alphas, initial_alphas(PER_LAYER, seed=3))
    assert not same(alphas, initial_alphas(PER_LAYER, seed=4))


def test_initial_alphas_leave_the_global_generator_alone():
    before = torch.get_rng_state()
    initial_alphas(PER_LAYER, seed=3)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("weights", "value"),
    [
        ([0.25] * 4, 1.0),
        ([0.0, 1.0, 0.0], 0.0),
        ([1.0], 0.0),
        ([0.5, 0.5, 0.0], 0.6309297535714574),  # log 2 / log 3
        ([[0.5, 0.5], [1.0, 0.0]], 0.5),
    ],
)
def test_entropy_is_one_undecided_and_zero_decided(weights, value):
    assert float(entropy(torch.tensor(weights))) == pytest.approx(value, abs=1e-6)


def test_seeded_puts_the_state_back_after_an_error():
    torch.manual_seed(1)
    before = torch.get_rng_state()

    def draw_and_fail() -> None:
        with seeded("key"):
            torch.rand(3)
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        draw_and_fail()
    assert torch.equal(torch.get_rng_state(), before)


def test_most_likely_takes_the_first_layers_of_its_depth():
    probabilities = {
        "width": torch.tensor([0.2, 0.5, 0.3]),
        "depth": torch.tensor([0.1, 0.7, 0.2]),
        "ratio": torch.tensor([[0.1, 0.2, 0.7], [0.8, 0.1, 0.1], [0.1, 0.8, 0.1]]),
    }
    found = most_likely(Mixture(PER_LAYER, probabilities))
    assert found == PER_LAYER.architecture({"width": 4, "depth": 2, "ratio": [3, 1]})


def test_architecture_at_reads_indices():
    chosen = {"width": torch.tensor(0), "depth": torch.tensor(2), "ratio": torch.tensor([2, 0, 1])}
    assert architecture_at(PER_LAYER, chosen) == PER_LAYER.architecture({"width": 2, "depth": 3, "ratio": [3, 1, 2]})


def test_drawn_architectures_follow_the_mixture():
    mixture = random_mixture(PER_LAYER, 2)
    with seeded("draws"):
        widths = torch.tensor([draw_architecture(mixture)["width"] for _ in range(2000)])
    drawn = torch.stack([(widths == option).float().mean() for option in (2, 4, 6)])
    torch.testing.assert_close(drawn, mixture["width"], atol=0.04, rtol=0)


def test_uniform_mixture_weighs_options_alike():
    assert all(bool((weights == 1 / 3).all()) for weights in uniform_mixture(PER_LAYER).values())
