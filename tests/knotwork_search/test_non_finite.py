import math

import pytest
import torch
from accelerate import Accelerator
from knotwork_search import DivergedError, RunFolder, Search
from knotwork_search._checkpoint import checkpoints
from knotwork_search._diagnosis import origin
from knotwork_search._non_finite import NonFiniteSteps, step_if_finite
from torch import nn

from .test_loop import data, everything, few_steps
from .toy import PER_LAYER, Toy, one_batch, same


def poisoned(toy: Toy, steps: set[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the weights' losses of some steps infinite."""
    loss, seen = toy.loss, iter(range(10_000))

    def sometimes(batch, arch):
        value = loss(batch, arch)
        return value * math.inf if toy.training and toy.head.weight.requires_grad and next(seen) in steps else value

    monkeypatch.setattr(toy, "loss", sometimes)


@pytest.mark.parametrize("fused", [False, True])
def test_a_step_that_is_not_finite_changes_nothing(fused):
    weight = nn.Parameter(torch.ones(3))
    optimiser = torch.optim.AdamW([weight], lr=0.1, fused=fused)
    for finite in (True, False, True):
        before, moments = weight.detach().clone(), {k: v.clone() for k, v in optimiser.state.get(weight, {}).items()}
        weight.grad = torch.full((3,), 1.0 if finite else math.nan)
        step_if_finite(optimiser, torch.tensor(finite))
        assert torch.equal(weight, before) is not finite
        assert bool(weight.isfinite().all())
        if not finite:
            assert same(optimiser.state[weight], moments)


def test_a_search_skips_and_counts(accelerator: Accelerator, tmp_path, monkeypatch):
    toy = Toy()
    search = Search(toy, data(), few_steps("drnas", fair_share=1.0), accelerator=accelerator, run=RunFolder(tmp_path))
    poisoned(toy, {2, 3, 7}, monkeypatch)
    search.train()
    assert search.step == 12
    assert search.non_finite.total == 3
    assert all(bool(tensor.isfinite().all()) for tensor in everything(search).values())
    resumed = Search(Toy(), data(), search.settings, accelerator=accelerator, run=RunFolder(tmp_path))
    resumed.load()
    assert resumed.non_finite.total == 3


def test_ten_in_a_row_end_the_search_with_a_good_checkpoint(accelerator: Accelerator, tmp_path, monkeypatch):
    toy = Toy()
    settings = few_steps("drnas", fair_share=1.0, max_steps=40)
    search = Search(toy, data(), settings, accelerator=accelerator, run=RunFolder(tmp_path))
    poisoned(toy, set(range(9, 40)), monkeypatch)
    with pytest.raises(DivergedError, match="in 10 steps in a row, up to step 18: the first infinite value arises in mul"):
        search.train()
    assert [path.name for path in checkpoints(tmp_path / "checkpoints")] == ["step-00000004", "step-00000008"]


def test_an_architecture_step_that_is_not_finite_leaves_the_alphas(accelerator: Accelerator, monkeypatch):
    toy, loss = Toy(), Toy.loss
    search = Search(toy, data(), few_steps("drnas", fair_share=0.0, max_steps=3, limits={}), accelerator=accelerator)
    before = {name: alpha.detach().clone() for name, alpha in search.alphas.items()}
    monkeypatch.setattr(
        toy, "loss", lambda batch, arch: loss(toy, batch, arch) * (1.0 if toy.head.weight.requires_grad else math.nan)
    )
    search.train()
    assert same({name: alpha.detach() for name, alpha in search.alphas.items()}, before)
    assert search.non_finite.total == 3


def test_where_it_arises():
    toy, batch = Toy(), one_batch()
    assert "the forward pass gives finite numbers" in origin(toy, [batch], lambda b: toy.loss(b, PER_LAYER.largest))
    huge = {**batch, "y": torch.full_like(batch["y"], 1e38)}
    told = origin(toy, [batch, huge], lambda b: toy.loss(b, PER_LAYER.largest))
    assert told == "the first infinite value arises in square after head"
    batch["x"][0, 0] = math.nan
    assert origin(toy, [one_batch(), batch], lambda _: None) == "the batch's x holds 1 of 24 values that are not finite"
    with torch.no_grad():
        dict(toy.named_parameters())["up.1.weight"][0, 0] = math.inf
    told = origin(toy, [one_batch(), batch], lambda _: None)
    assert told == "the parameter up.1.weight holds 1 of 108 values that are not finite"


def test_losses_in_order_start_the_count_again():
    told: list[str] = []
    steps = NonFiniteSteps(torch.device("cpu"), told.append)
    for step, value in enumerate([1.0, math.nan, math.inf, 2.0, math.nan]):
        steps.note(step, torch.tensor(value))
    assert (steps.total, steps.in_a_row, len(told)) == (3, 1, 2)
    assert "step 1: the loss or its gradient is not a finite number" in told[0]
