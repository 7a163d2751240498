from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from knotwork_ops import Mixture
from knotwork_search import Budget, initial_alphas, strategy
from knotwork_search._gradients import average_gradients, frozen
from knotwork_search._training import architecture_update, weight_update
from torch import Tensor

from .toy import PER_LAYER, Toy, one_batch, same, weights_of

RATE = 1.0
STILL = SimpleNamespace(step=lambda: None, zero_grad=lambda: None)
"""An optimiser that leaves gradients to be looked at."""


def halves(batch: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    return [{name: value[:4] for name, value in batch.items()}, {name: value[4:] for name, value in batch.items()}]


def sgd(toy: Toy) -> torch.optim.SGD:
    return torch.optim.SGD(toy.parameters(), lr=RATE)


@pytest.mark.parametrize("name", ["darts", "drnas", "gdas"])
def test_architecture_step_moves_alphas_alone(accelerator, name):
    toy, alphas = Toy(), initial_alphas(PER_LAYER, seed=0)
    weights, before = weights_of(toy), {choice: alpha.detach().clone() for choice, alpha in alphas.items()}
    optimiser = torch.optim.Adam(alphas.values(), lr=0.1)
    found = strategy(name, PER_LAYER, 10)
    budget = Budget({"params": 60.0}, multipliers={"params": 1.0})
    data = [one_batch(), one_batch(first=8)]
    loss, cost = architecture_update(toy, data, found, alphas, 0, budget, optimiser, accelerator)
    assert same(weights_of(toy), weights)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in toy.parameters())
    assert all(not torch.equal(alpha, before[choice]) for choice, alpha in alphas.items())
    assert all(alpha.grad is None for alpha in alphas.values())
    assert not loss.requires_grad
    assert loss.dim() == 0
    expected = toy.cost(found.probabilities({choice: alpha.clone() for choice, alpha in before.items()}))
    assert {currency: float(value) for currency, value in cost.items()} == pytest.approx(
        {currency: float(value) for currency, value in expected.items()}
    )


def test_architecture_loss_is_the_mean_over_batches_without_the_penalty(accelerator):
    toy, alphas, found = Toy(), initial_alphas(PER_LAYER, seed=0), strategy("darts", PER_LAYER, 10)
    budget = Budget({"params": 60.0}, multipliers={"params": 5.0})
    loss, _ = architecture_update(toy, halves(one_batch()), found, alphas, 0, budget, STILL, accelerator)
    torch.testing.assert_close(loss, toy.loss(one_batch(), found.probabilities(alphas)).detach())


@pytest.mark.parametrize("name", ["darts", "drnas", "gdas"])
def test_accumulation_is_a_larger_batch(accelerator, name):
    toy, found, gradients = Toy(), strategy(name, PER_LAYER, 10), []
    for data in ([one_batch()], halves(one_batch())):
        alphas = initial_alphas(PER_LAYER, seed=0)
        torch.manual_seed(1)
        architecture_update(toy, data, found, alphas, 0, Budget(), STILL, accelerator)
        gradients.append({choice: cast(Tensor, alpha.grad) for choice, alpha in alphas.items()})
    torch.testing.assert_close(gradients[0], gradients[1])
    assert any(bool(gradient.any()) for gradient in gradients[0].values())


def test_budget_adds_the_gradient_of_its_penalty(accelerator):
    toy, found = Toy(), strategy("darts", PER_LAYER, 10)
    gradients = []
    for budget in (Budget(), Budget({"params": 60.0}, multipliers={"params": 0.8})):
        alphas = initial_alphas(PER_LAYER, seed=0)
        architecture_update(toy, [one_batch()], found, alphas, 0, budget, STILL, accelerator)
        gradients.append([cast(Tensor, alpha.grad) for alpha in alphas.values()])
    alphas = initial_alphas(PER_LAYER, seed=0)
    softmax = Mixture(PER_LAYER, {name: alpha.softmax(-1) for name, alpha in alphas.items()})
    expected = torch.autograd.grad(0.8 * torch.log(toy.cost(softmax)["params"]), list(alphas.values()))
    for without, with_budget, wanted in zip(*gradients, expected, strict=True):
        torch.testing.assert_close(with_budget - without, wanted, atol=1e-6, rtol=1e-4)
        assert bool(wanted.any())


def test_a_failing_loss_leaves_the_weights_trainable(accelerator, monkeypatch):
    toy, alphas = Toy(), initial_alphas(PER_LAYER, seed=0)

    def broken(batch, arch):
        assert not any(parameter.requires_grad for parameter in toy.parameters())
        raise RuntimeError("out of memory")

    found = strategy("drnas", PER_LAYER, 10)
    monkeypatch.setattr(toy, "loss", broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        architecture_update(toy, [one_batch()], found, alphas, 0, Budget(), STILL, accelerator)
    assert all(parameter.requires_grad for parameter in toy.parameters())


def test_a_weight_that_was_not_trained_before_stays_so():
    toy = Toy()
    toy.embed.weight.requires_grad_(False)
    with frozen(toy):
        pass
    assert [name for name, parameter in toy.named_parameters() if not parameter.requires_grad] == ["embed.weight"]


def test_weight_step_changes_weights_alone(accelerator):
    toy, alphas = Toy(), initial_alphas(PER_LAYER, seed=0)
    before, alphas_before = weights_of(toy), {name: alpha.detach().clone() for name, alpha in alphas.items()}
    with torch.no_grad():
        mixture = strategy("drnas", PER_LAYER, 10).sample(alphas, 0)
    wanted = toy.loss(one_batch(), mixture).detach()
    loss = weight_update(toy, [one_batch()], [mixture], sgd(toy), 1.0, accelerator)
    torch.testing.assert_close(loss, wanted)
    assert not loss.requires_grad
    assert all(not torch.equal(after, before[name]) for name, after in weights_of(toy).items())
    assert all(parameter.grad is None for parameter in toy.parameters())
    assert same(alphas, alphas_before)
    assert all(alpha.grad is None for alpha in alphas.values())


def test_weight_step_of_an_architecture_leaves_the_rest_of_the_weights(accelerator):
    toy = Toy()
    before = weights_of(toy)
    weight_update(toy, [one_batch()], [PER_LAYER.smallest], sgd(toy), 1.0, accelerator)
    moved = {name: after != before[name] for name, after in weights_of(toy).items()}
    assert {name for name, change in moved.items() if change.any()} == {
        *("embed.weight", "embed.bias", "up.0.weight", "up.0.bias", "down.0.weight", "down.0.bias", "head.weight", "head.bias")
    }
    assert bool(moved["up.0.weight"][:2, :2].all())
    assert int(moved["up.0.weight"].sum()) == 4


@pytest.mark.parametrize("clip", [0.01, 1.0])
def test_weight_step_clips_the_whole_gradient(accelerator, clip):
    toy = Toy()
    before = weights_of(toy)
    data = [{**one_batch(), "y": torch.full((8,), 1e3)}]
    weight_update(toy, data, [PER_LAYER.largest], sgd(toy), clip, accelerator)
    step = torch.cat([(after - before[name]).flatten() for name, after in weights_of(toy).items()])
    assert float(step.norm()) == pytest.approx(clip, rel=1e-3)


def test_two_halves_make_the_step_of_the_whole_batch(accelerator):
    whole, split = Toy(), Toy()
    mixture = strategy("darts", PER_LAYER, 10).probabilities(initial_alphas(PER_LAYER, seed=0, scale=1.0))
    mixture = Mixture(PER_LAYER, {name: weights.detach() for name, weights in mixture.items()})
    losses = [
        weight_update(toy, data, [mixture], sgd(toy), 0.5, accelerator)
        for toy, data in ((whole, [one_batch()]), (split, halves(one_batch())))
    ]
    torch.testing.assert_close(losses[0], losses[1], atol=1e-6, rtol=0)
    after = weights_of(split)
    for name, weight in weights_of(whole).items():
        torch.testing.assert_close(after[name], weight, atol=1e-6, rtol=0)


def test_gradients_are_averaged_over_processes_in_one_message():
    toy, messages = Toy(), []
    toy.loss(one_batch(), PER_LAYER.smallest).backward()  # leaves the deeper layers without a gradient
    before = {name: parameter.grad.clone() for name, parameter in toy.named_parameters() if parameter.grad is not None}

    def reduce(flat: Tensor, reduction: str) -> Tensor:
        messages.append(reduction)
        return (flat + 3 * flat) / 2  # the other process has three times this one's gradient

    average_gradients(toy.parameters(), cast(Any, SimpleNamespace(num_processes=2, reduce=reduce)))
    assert messages == ["mean"]
    for name, parameter in toy.named_parameters():
        assert (parameter.grad is not None) == (name in before)
        if parameter.grad is not None:
            torch.testing.assert_close(parameter.grad, 2 * before[name])


def test_architecture_step_adds_the_gradient_of_the_strategys_penalty(accelerator):
    toy, gradients = Toy(), []
    for entropy in (0.0, 0.7):
        found = strategy("darts", PER_LAYER, 10, {"entropy": entropy})
        alphas = initial_alphas(PER_LAYER, seed=0, scale=1.0)
        architecture_update(toy, [one_batch()], found, alphas, 9, Budget(), STILL, accelerator)
        gradients.append([cast(Tensor, alpha.grad) for alpha in alphas.values()])
    alphas = initial_alphas(PER_LAYER, seed=0, scale=1.0)
    penalty = strategy("darts", PER_LAYER, 10, {"entropy": 0.7}).penalty(alphas, 9)
    assert penalty is not None
    for without, with_penalty, wanted in zip(*gradients, torch.autograd.grad(penalty, list(alphas.values())), strict=True):
        torch.testing.assert_close(with_penalty - without, wanted, atol=1e-6, rtol=1e-4)
        assert bool(wanted.any())


def test_distillation_teaches_by_the_first_selection(accelerator):
    """Against the gradients of both losses taken apart."""
    toy, batch = Toy(), one_batch()
    smallest, largest = PER_LAYER.smallest, PER_LAYER.largest
    with torch.no_grad():
        predicted = toy(batch["x"], largest)
    own = toy.loss(batch, largest)
    taught = toy.loss({**batch, "y": predicted}, smallest)
    weights = [parameter for _, parameter in toy.named_parameters()]
    gradients = torch.autograd.grad((own + taught) / 2, weights, allow_unused=True)
    wanted = [w.detach() - RATE * g if g is not None else w.detach().clone() for w, g in zip(weights, gradients, strict=True)]
    loss = weight_update(toy, [batch], [largest, smallest], sgd(toy), 1e9, accelerator, distils=True)
    assert loss == own
    for weight, value in zip(weights, wanted, strict=True):
        torch.testing.assert_close(weight.detach(), value)


def test_without_distillation_all_selections_see_the_targets(accelerator):
    toy, batch = Toy(), one_batch()
    smallest, largest = PER_LAYER.smallest, PER_LAYER.largest
    weights = [parameter for _, parameter in toy.named_parameters()]
    mean = (toy.loss(batch, largest) + toy.loss(batch, smallest)) / 2
    wanted = [w.detach() - RATE * g for w, g in zip(weights, torch.autograd.grad(mean, weights), strict=True)]
    weight_update(toy, [batch], [largest, smallest], sgd(toy), 1e9, accelerator)
    for weight, value in zip(weights, wanted, strict=True):
        torch.testing.assert_close(weight.detach(), value)
