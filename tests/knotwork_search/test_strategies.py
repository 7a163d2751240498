import pytest
import torch
from knotwork_ops import Choice, HardSample, Mixture, SearchSpace
from knotwork_search import STRATEGIES, initial_alphas, seeded, strategy
from knotwork_search.strategies import DARTS, GDAS, SPOS, DrNAS
from knotwork_search.strategies.drnas import concentration
from torch.nn import functional as F

from .toy import PER_LAYER, SPACES, Toy, one_batch, same

STEPS = 10
MANY = 10_000
MANY_LAYERS = SearchSpace((Choice("option", (1, 2, 3), layers=MANY),))
"""One draw from it is many independent draws."""
ALPHA = torch.tensor([0.7, -0.4, 0.1])


def many(alpha: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"option": alpha.expand(MANY, 3)}


def frequencies(sample: HardSample) -> torch.Tensor:
    drawn = torch.tensor(sample.architecture["option"])
    return torch.bincount(drawn - 1, minlength=3) / len(drawn)


def assert_simplex(mixture: Mixture) -> None:
    for choice in mixture.space:
        weights = mixture[choice.name]
        assert bool((weights >= 0).all())
        torch.testing.assert_close(weights.sum(-1), torch.ones(choice.shape[:-1]))


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_keeps_the_protocol(name, space):
    found, toy, batch = strategy(name, space, STEPS), Toy(space), one_batch()
    alphas = initial_alphas(space, seed=1, scale=1.0)
    assert_simplex(found.probabilities(alphas))
    gradients = {choice.name: torch.zeros(choice.shape) for choice in space}
    for step in range(STEPS):
        with seeded(name, step):
            sample = found.sample(alphas, step)
        if isinstance(sample, Mixture):
            assert_simplex(sample)
        else:
            space.validate(sample.architecture)
            assert set(sample.factors) in (set(), {choice.name for choice in space})
            for choice_name, factor in sample.factors.items():
                torch.testing.assert_close(factor, torch.ones(space[choice_name].shape[:-1]))
        loss = toy.loss(batch, sample)
        assert loss.isfinite()
        if found.single_stage:
            for choice, gradient in zip(space, torch.autograd.grad(loss, list(alphas.values())), strict=True):
                gradients[choice.name] += gradient.abs()
    for gradient in gradients.values():
        assert bool(gradient.isfinite().all())
        assert bool((gradient.sum(-1) > 0).all()) == found.single_stage  # every choice, in every layer, hears of the loss


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_draw_is_a_function_of_the_key(name):
    found, alphas = strategy(name, PER_LAYER, STEPS), initial_alphas(PER_LAYER, seed=1)

    def drawn(*key: int | str) -> str | dict[str, torch.Tensor]:
        with seeded(*key):
            sample = found.sample(alphas, 3)
        return dict(sample) if isinstance(sample, Mixture) else str(sample.architecture)

    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, others = drawn("a", 1), drawn("a", 1), [drawn("a", i) for i in range(2, 12)]
    assert torch.equal(torch.get_rng_state(), before)
    if isinstance(first, dict) and isinstance(again, dict):
        assert same(first, again)
        assert isinstance(found, DARTS) or not any(same(first, other) for other in others if isinstance(other, dict))
    else:
        assert first == again
        assert len({str(other) for other in others}) > 1


def test_unknown_strategy_lists_the_names():
    with pytest.raises(
        ValueError, match=r"unknown strategy 'adam': known are \['drnas', 'darts', .*'spos-re', .*'sandwich-nsga2'\]"
    ):
        strategy("adam", PER_LAYER, STEPS)


def test_darts_is_the_softmax_and_its_gradient():
    alpha = ALPHA.double().requires_grad_()
    space = SearchSpace((Choice("option", (1, 2, 3)),))
    found = DARTS(space, STEPS)
    weights, torn = found.sample({"option": alpha}, 0)["option"], torch.tensor([0.3, -1.0, 2.0]).double()
    exponentials = [2.718281828459045**value for value in alpha.tolist()]
    p = torch.tensor(exponentials).double() / sum(exponentials)
    torch.testing.assert_close(weights.detach(), p)
    torch.testing.assert_close(torch.autograd.grad(weights @ torn, alpha)[0], p * (torn - p @ torn))
    torch.testing.assert_close(found.probabilities({"option": alpha})["option"], weights)


def test_drnas_mean_and_pathwise_gradient_are_those_of_the_dirichlet():
    alpha = ALPHA.clone().requires_grad_()
    found = DrNAS(MANY_LAYERS, STEPS)
    with seeded("drnas"):
        draws = found.sample(many(alpha), 0)["option"]
    assert bool((draws >= 0).all())
    torch.testing.assert_close(draws.sum(-1), torch.ones(MANY))
    expected = found.probabilities(many(alpha))["option"][0]
    c = torch.where(ALPHA > 0, ALPHA + 1, ALPHA.exp())
    torch.testing.assert_close(expected.detach(), c / c.sum())
    torch.testing.assert_close(draws.mean(0), expected, atol=0.01, rtol=0)
    for option in range(3):
        pathwise = torch.autograd.grad(draws[:, option].mean(), alpha, retain_graph=True)[0]
        exact = torch.autograd.grad(expected[option], alpha, retain_graph=True)[0]
        torch.testing.assert_close(pathwise, exact, atol=0.01, rtol=0)
        assert bool(pathwise.isfinite().all())
        assert bool((pathwise != 0).all())


@pytest.mark.parametrize("alpha", [(-60.0, 0.0, 0.0), (-1e4, 3.0, -1e4), (-60.0, -60.0, -60.0)])
def test_drnas_survives_very_negative_alphas(alpha):
    leaf = torch.tensor(alpha, requires_grad=True)
    assert bool((concentration(leaf) > 0).all())
    space = SearchSpace((Choice("option", (1, 2, 3), layers=500),))
    with seeded("negative"):
        draws = DrNAS(space, STEPS).sample({"option": leaf.expand(500, 3)}, 0)["option"]
    torch.testing.assert_close(draws.sum(-1), torch.ones(500))
    (draws * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert leaf.grad is not None
    assert bool(leaf.grad.isfinite().all())


def test_gdas_temperature_falls_linearly_and_stays():
    found = GDAS(PER_LAYER, 101)
    assert [found.tau(step) for step in (0, 50, 100, 101, 500)] == pytest.approx([10, 5.05, 0.1, 0.1, 0.1])
    assert GDAS(PER_LAYER, 1).tau(0) == 10


@pytest.mark.parametrize("step", [0, 4, 9])
def test_gdas_factor_is_the_straight_through_gumbel_softmax(step):
    alphas = {choice.name: torch.randn(choice.shape, requires_grad=True) for choice in PER_LAYER}
    found = GDAS(PER_LAYER, STEPS)
    with seeded("gdas", step):
        sample = found.sample(alphas, step)
    with seeded("gdas", step):
        for choice in PER_LAYER:
            alpha = alphas[choice.name]
            gumbel = -torch.empty_like(alpha).exponential_().log()
            soft = ((F.log_softmax(alpha, -1) + gumbel) / found.tau(step)).softmax(-1)
            one_hot = F.one_hot(soft.argmax(-1), 3)
            hard = (one_hot - soft.detach() + soft).gather(-1, soft.argmax(-1, keepdim=True)).squeeze(-1)
            wanted = torch.autograd.grad(hard.sum(), alpha)[0]
            torch.testing.assert_close(torch.autograd.grad(sample.factors[choice.name].sum(), alpha)[0], wanted)
            assert bool(wanted.any())
            rows = one_hot.argmax(-1).view(-1).tolist()[: PER_LAYER.layers_used(choice, sample.architecture)]
            value = sample.architecture[choice.name]
            assert [choice.index(option) for option in (value if choice.per_layer else (value,))] == rows


def test_gdas_factors_are_exactly_one():
    # A factor of 0.99999994 would make a supernet's forward pass differ from the architecture's own.
    with seeded("exactly one"):
        sample = GDAS(MANY_LAYERS, STEPS).sample(many(ALPHA), 5)
    assert torch.equal(sample.factors["option"], torch.ones(MANY))


@pytest.mark.parametrize("step", [0, 9])
def test_gdas_chooses_with_the_softmax_of_alpha_at_any_temperature(step):
    with seeded("frequencies", step):
        sample = GDAS(MANY_LAYERS, STEPS).sample(many(ALPHA), step)
    torch.testing.assert_close(frequencies(sample), ALPHA.softmax(-1), atol=0.015, rtol=0)


def test_spos_is_uniform_whatever_the_alphas():
    found = SPOS(MANY_LAYERS, STEPS)
    with seeded("spos"):
        sample = found.sample(many(10 * ALPHA), 0)
    torch.testing.assert_close(frequencies(sample), torch.full((3,), 1 / 3), atol=0.015, rtol=0)
    assert not sample.factors
    torch.testing.assert_close(found.probabilities(many(ALPHA))["option"], torch.full((MANY, 3), 1 / 3))


def test_the_sandwich_rule_trains_both_ends_and_what_is_drawn():
    found = strategy("sandwich-re", PER_LAYER, STEPS, {"random": 3.0})
    assert (found.distils, found.single_stage, found.searcher) == (True, False, "evolution")
    with seeded("sandwich"):
        largest, smallest, *drawn = found.weight_selections(initial_alphas(PER_LAYER, seed=0), 0)
    assert (largest, smallest) == (PER_LAYER.largest, PER_LAYER.smallest)
    assert len({str(sample) for sample in drawn}) == 3
    assert len(strategy("sandwich-re", PER_LAYER, STEPS).weight_selections({}, 0)) == 4


def test_drnas_is_held_near_the_symmetric_dirichlet():
    """Against the divergence's integral, sampled."""
    alphas = {"option": torch.tensor([[0.7, -0.4, 0.1], [0.0, 0.0, 0.0]], requires_grad=True)}
    penalty = DrNAS(MANY_LAYERS, STEPS, distance=0.5).penalty(alphas, 0)
    assert penalty is not None
    drawn = torch.distributions.Dirichlet(concentration(alphas["option"][0].detach()))
    symmetric = torch.distributions.Dirichlet(torch.ones(3))
    with seeded("divergence"):
        draws = drawn.sample(torch.Size([400_000]))
    expected = 0.5 * (drawn.log_prob(draws) - symmetric.log_prob(draws)).mean()
    torch.testing.assert_close(penalty.detach(), expected, atol=3e-3, rtol=0)
    penalty.backward()
    assert alphas["option"].grad is not None
    assert bool(alphas["option"].grad[0].any())
    torch.testing.assert_close(alphas["option"].grad[1], torch.zeros(3))
    assert DrNAS(MANY_LAYERS, STEPS, distance=0.0).penalty(alphas, 0) is None


def test_drnas_drops_the_least_likely_option_at_the_end_of_a_stage():
    found = DrNAS(MANY_LAYERS, STEPS, shrink=2.0)
    alpha = torch.tensor([[0.3, -0.2, 0.1]]).repeat(MANY, 1).requires_grad_()
    alphas = {"option": alpha}
    counts = []
    for number in range(1, 10):
        found.after_step(alphas, number, 9)
        counts.append(int((found.probabilities(alphas)["option"][0] > 0).sum()))
    assert counts == [3, 3, 2, 2, 2, 1, 1, 1, 1]
    torch.testing.assert_close(found.probabilities(alphas)["option"].detach(), torch.tensor([[1.0, 0.0, 0.0]]).repeat(MANY, 1))
    found.after_step(alphas, 3, 9)  # the last one stays
    assert int((found.probabilities(alphas)["option"] > 0).sum()) == MANY


def test_drnas_without_an_option_is_the_dirichlet_of_the_others():
    """Draws, their mean, the distance and the gradients, against a space that never had the option."""
    found, alpha = DrNAS(MANY_LAYERS, STEPS, distance=0.5, shrink=1.0), torch.tensor([[0.7, -0.9, 0.1]])
    alphas = {"option": alpha.repeat(MANY, 1).requires_grad_()}
    found.after_step(alphas, 5, 10)
    two = torch.tensor([0.7, 0.1], requires_grad=True)
    reference = torch.distributions.Dirichlet(concentration(two))
    with seeded("shrunk"):
        draw = found.sample(alphas, 0)["option"]
    assert not bool(draw[:, 1].any())
    torch.testing.assert_close(draw.sum(-1), torch.ones(MANY))
    torch.testing.assert_close(draw[:, [0, 2]].mean(0), reference.mean, atol=0.01, rtol=0)
    torch.testing.assert_close(draw[:, [0, 2]].var(0), reference.variance, atol=0.01, rtol=0)
    torch.testing.assert_close(found.probabilities(alphas)["option"][0, [0, 2]], reference.mean)
    penalty = found.penalty(alphas, 0)
    assert penalty is not None
    wanted = 0.5 * torch.distributions.kl_divergence(reference, torch.distributions.Dirichlet(torch.ones(2)))
    torch.testing.assert_close(penalty, MANY * wanted, rtol=1e-4, atol=1e-4)
    (found_gradient,) = torch.autograd.grad(penalty, [alphas["option"]])
    (wanted_gradient,) = torch.autograd.grad(wanted, [two])
    torch.testing.assert_close(found_gradient[0, [0, 2]], wanted_gradient, rtol=1e-4, atol=1e-5)
    assert not bool(found_gradient[:, 1].any())


def test_darts_entropy_is_annealed():
    space = SPACES["uniform"]
    alphas = initial_alphas(space, seed=1, scale=1.0)
    found = DARTS(space, STEPS, entropy=0.3)
    entropies = [-(w * w.log()).sum() / torch.log(torch.tensor(float(len(w)))) for w in found.probabilities(alphas).values()]
    for step, share in ((0, 0.0), (STEPS - 1, 1.0), (3, 3 / (STEPS - 1))):
        torch.testing.assert_close(found.penalty(alphas, step), 0.3 * share * torch.stack(entropies).sum())
    assert DARTS(space, STEPS).penalty(alphas, 5) is None


def test_options_reach_the_strategy():
    found = strategy("gdas", PER_LAYER, STEPS, {"tau_end": 1.0})
    assert isinstance(found, GDAS)
    assert found.tau(STEPS - 1) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="'drnas' has no option 'tau': it has \\['distance', 'shrink'\\]"):
        strategy("drnas", PER_LAYER, STEPS, {"tau": 1.0})
    with pytest.raises(ValueError, match="it has none"):
        strategy("spos-re", PER_LAYER, STEPS, {"searcher": 1.0})
