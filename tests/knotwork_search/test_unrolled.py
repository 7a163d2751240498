"""DARTS' second order against the exact gradient through an unrolled weight step, by double backward in float64."""

from functools import partial

import pytest
import torch
from knotwork_ops._fast._masked_linear import plain_masked_linear
from knotwork_search import Search, SearchData, SearchSettings, _unrolled, initial_alphas, strategy
from knotwork_search._unrolled import Lookahead, unrolled_gradient
from torch.func import functional_call

from .toy import PER_LAYER, Toy, numbered, one_batch, same, weights_of


def doubled(batch):
    return {name: value.double() if value.is_floating_point() else value for name, value in batch.items()}


TRAINING, HELD_OUT = doubled(one_batch()), doubled(one_batch(first=8))
DARTS = strategy("darts-2nd", PER_LAYER, 10)


def problem():
    alphas = {n: a.detach().double().requires_grad_() for n, a in initial_alphas(PER_LAYER, seed=3, scale=1.0).items()}
    return Toy().double(), alphas


def found_by(toy, alphas, rate, accelerator):
    arch = partial(DARTS.sample, alphas, 0)
    return unrolled_gradient(toy, [HELD_OUT], Lookahead([TRAINING], rate), arch, alphas, accelerator)


def exact(toy, alphas, rate):
    """Both the unrolled gradient and the first-order one."""

    def loss(weights, batch):
        return (functional_call(toy, weights, (batch["x"], DARTS.sample(alphas, 0))) - batch["y"]).square().mean()

    weights = dict(toy.named_parameters())
    slope = torch.autograd.grad(loss(weights, TRAINING), list(weights.values()), create_graph=True)
    ahead = {name: weight - rate * s for (name, weight), s in zip(weights.items(), slope, strict=True)}
    parameters = list(alphas.values())
    held_out = loss(ahead, HELD_OUT)
    unrolled, first_order = (torch.autograd.grad(value, parameters) for value in (held_out, loss(weights, HELD_OUT)))
    return held_out.detach(), unrolled, first_order


@pytest.mark.parametrize("rate", [0.05, 0.5])
def test_equals_the_exact_unrolled_gradient(accelerator, monkeypatch, rate):
    monkeypatch.setattr("knotwork_ops._linear.masked_linear", plain_masked_linear)  # the fused one is differentiable once
    toy, alphas = problem()
    held_out, wanted, first_order = exact(toy, alphas, rate)
    loss, found = found_by(toy, alphas, rate, accelerator)
    torch.testing.assert_close(loss, held_out, rtol=1e-10, atol=0)
    for value, expected, plain in zip(found, wanted, first_order, strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-3, atol=1e-5)
        assert float((plain - expected).abs().max()) > 100 * float((value - expected).abs().max())


def test_the_finite_difference_is_of_second_order(accelerator, monkeypatch):
    monkeypatch.setattr("knotwork_ops._linear.masked_linear", plain_masked_linear)
    toy, alphas = problem()
    _, wanted, _ = exact(toy, alphas, 0.5)
    errors = []
    for distance in (0.1, 0.01):
        monkeypatch.setattr(_unrolled, "DISTANCE", distance)
        _, found = found_by(toy, alphas, 0.5, accelerator)
        errors.append(max(float((f - w).abs().max()) for f, w in zip(found, wanted, strict=True)))
    assert errors[1] < errors[0] / 50


def test_halves_make_the_gradient_of_the_whole_and_the_weights_come_back(accelerator):
    toy, alphas = problem()
    before = weights_of(toy)
    halves = {
        name: [{key: value[part] for key, value in batch.items()} for part in (slice(4), slice(4, 8))]
        for name, batch in (("training", TRAINING), ("held out", HELD_OUT))
    }
    whole = found_by(toy, alphas, 0.3, accelerator)
    ahead = Lookahead(halves["training"], 0.3)
    split = unrolled_gradient(toy, halves["held out"], ahead, partial(DARTS.sample, alphas, 0), alphas, accelerator)
    torch.testing.assert_close(whole, split)
    assert same(weights_of(toy), before)
    assert all(weight.requires_grad and weight.grad is None for weight in toy.parameters())
    assert all(alpha.grad is None for alpha in alphas.values())


def test_a_failing_loss_puts_the_weights_back(accelerator, monkeypatch):
    toy, alphas = problem()
    before, calls, loss = weights_of(toy), [], toy.loss

    def failing(batch, arch):
        calls.append(None)
        if len(calls) == 3:
            raise RuntimeError("out of memory")
        return loss(batch, arch)

    monkeypatch.setattr(toy, "loss", failing)
    with pytest.raises(RuntimeError, match="out of memory"):
        found_by(toy, alphas, 0.3, accelerator)
    assert same(weights_of(toy), before)
    assert all(weight.requires_grad for weight in toy.parameters())


def test_a_search_looks_ahead_to_the_batch_it_then_trains_on(accelerator):
    toy = Toy()
    settings = SearchSettings(strategy="darts-2nd", max_steps=2, batch_size=2, fair_share=0.0, seed=1)
    search = Search(toy, SearchData(numbered(8), numbered(8, first=100)), settings, accelerator=accelerator)
    toy.seen = []
    search.train()
    for step in (toy.seen[:5], toy.seen[5:]):
        (_, ahead), (_, held_out), *difference, (trained, last) = step
        assert trained
        assert max(ahead) < 100 <= min(held_out)
        assert last == ahead
        assert difference == [(False, ahead), (False, ahead)]


def test_is_refused_where_gradients_are_scaled(accelerator, monkeypatch):
    monkeypatch.setattr(accelerator, "scaler", object())
    settings = SearchSettings(strategy="darts-2nd", max_steps=2)
    with pytest.raises(ValueError, match="bf16"):
        Search(Toy(), SearchData(numbered(8), numbered(8)), settings, accelerator=accelerator)
