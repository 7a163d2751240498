from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from knotwork_search import STRATEGIES, RunFolder, Search, SearchData, SearchSettings, costs
from torch import Tensor

from .toy import FIXED_DEPTH, PER_LAYER, SPACES, Stream, Toy, every_architecture, numbered, same

LIMITS = {"per layer": 285.0, "uniform": 199.0, "fixed depth": 173.0}
"""Budgets in parameters, each with several architectures that use nearly all of it."""
LIMIT = LIMITS["per layer"]
FIRST_HELD_OUT = 1000


def data() -> SearchData:
    return SearchData(weight=numbered(40), architecture=numbered(24, FIRST_HELD_OUT))


def few_steps(name: str, **changes: Any) -> SearchSettings:
    common: dict[str, Any] = {
        "strategy": name,
        "max_steps": 12,
        "batch_size": 4,
        "fair_share": 0.34,
        "limits": {"params": LIMIT},
        "candidates": 2,
        "evaluations": 8,  # no more than there are within the budget
        "finetune_steps": 3,
        "evaluation_batches": 2,
        "checkpoint_every": 4,
    }
    return SearchSettings(**(common | changes))


USES_BUDGET = [name for name in STRATEGIES if "nsga2" not in name]
"""NSGA-II looks for cheap architectures too."""


class StoppedError(Exception):
    """The machine goes down."""


def stop_after(search: Search, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise once the checkpoint of a step is written."""
    save = search.save

    def save_and_stop() -> None:
        save()
        if search.step == step:
            raise StoppedError

    monkeypatch.setattr(search, "save", save_and_stop)


def everything(search: Search) -> dict[str, Tensor]:
    weights = {name: parameter.detach().clone() for name, parameter in search.supernet.named_parameters()}
    return weights | {f"alpha {name}": alpha.detach().clone() for name, alpha in search.alphas.items()}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (name, kind)
        for name in USES_BUDGET
        for kind in SPACES
        if STRATEGIES[name](PER_LAYER, 1).single_stage or kind == "per layer"
    ],
)
def test_every_strategy_finds_an_architecture_that_uses_the_budget(accelerator: Accelerator, name, kind):
    limit, toy = LIMITS[kind], Toy(SPACES[kind])
    settings = few_steps(name, limits={"params": limit})
    affordable = [c for a in every_architecture(toy.space) if (c := costs(toy, a)["params"]) <= limit]
    assert max(affordable) >= settings.least_share * limit
    result = Search(toy, data(), settings, accelerator=accelerator).run()
    toy.space.validate(result.architecture)
    assert settings.least_share * limit <= costs(toy, result.architecture)["params"] <= limit
    assert result.ranked[0].candidate.architecture == result.architecture
    assert len({ranked.candidate.architecture for ranked in result.ranked}) == len(result.ranked) > 1
    assert all(ranked.candidate.cost["params"] <= limit for ranked in result.ranked)
    for weights in result.probabilities.values():
        assert not weights.requires_grad
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_search_trains_weights_and_only_single_stage_strategies_train_alphas(accelerator, name):
    search = Search(Toy(), data(), few_steps(name), accelerator=accelerator)
    before = everything(search)
    search.train()
    moved = {key for key, value in everything(search).items() if not torch.equal(value, before[key])}
    alphas = {f"alpha {choice.name}" for choice in PER_LAYER}
    assert moved - alphas == before.keys() - alphas
    assert moved & alphas == (alphas if search.strategy.single_stage else set())
    assert search.step == 12


def test_no_budget_and_streamed_data(accelerator):
    streams = SearchData(Stream(numbered(40)), Stream(numbered(24, FIRST_HELD_OUT)))
    result = Search(Toy(), streams, few_steps("drnas", limits={}), accelerator=accelerator).run()
    PER_LAYER.validate(result.architecture)


def test_a_shrinking_search_ends_with_few_options_and_resumes(accelerator, tmp_path, monkeypatch):
    settings = few_steps("drnas", strategy_options={"shrink": 2.0}, max_steps=16)
    whole = Search(Toy(), data(), settings, accelerator=accelerator)
    whole.train()
    for weights in whole.probabilities().values():
        assert ((weights > 0).sum(-1) == 1).all()
    stopped = Search(Toy(), data(), settings, accelerator=accelerator, run=RunFolder(tmp_path))
    stop_after(stopped, 12, monkeypatch)
    with pytest.raises(StoppedError):
        stopped.train()
    resumed = Search(Toy(seed=9), data(), settings, accelerator=accelerator, run=RunFolder(tmp_path))
    resumed.load()
    resumed.train()
    assert same(resumed.alphas, whole.alphas)
    # What was dropped can still be had where the budget leaves nothing else.
    assert costs(whole.supernet, whole.choose().architecture)["params"] <= LIMIT


def test_alphas_stay_during_fair_training(accelerator):
    search = Search(Toy(), data(), few_steps("drnas", fair_share=1.0), accelerator=accelerator)
    before = {name: alpha.detach().clone() for name, alpha in search.alphas.items()}
    search.train()
    assert same(search.alphas, before)


def test_the_multiplier_rises_while_the_expected_cost_is_over_the_limit(accelerator):
    smallest = costs(Toy(), PER_LAYER.smallest)["params"]
    search = Search(Toy(), data(), few_steps("darts", limits={"params": smallest + 1}), accelerator=accelerator)
    search.train()
    assert search.budget.multipliers["params"] > 0


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"params": 20.0}, "the budget of 20 params is below the smallest architecture, which has 23"),
        ({"joules": 20.0}, "no cost named 'joules'"),
    ],
)
def test_an_impossible_budget_is_refused_before_anything_is_written(accelerator, tmp_path, limits, message):
    run = RunFolder(tmp_path / "run")
    with pytest.raises(ValueError, match=message):
        Search(Toy(), data(), few_steps("drnas", limits=limits), accelerator=accelerator, run=run)
    assert not run.path.exists()


def test_unknown_strategy_is_refused(accelerator):
    with pytest.raises(ValueError, match="unknown strategy 'evolution'"):
        Search(Toy(), data(), few_steps("evolution"), accelerator=accelerator)


def test_a_search_is_a_function_of_its_seed(accelerator):
    def searched(seed: int) -> dict[str, Tensor]:
        torch.manual_seed(torch.seed())  # whatever else the program has drawn
        search = Search(Toy(dropout=0.2), data(), few_steps("drnas", seed=seed), accelerator=accelerator)
        search.train()
        return everything(search)

    first = searched(0)
    assert same(first, searched(0))
    assert not same(first, searched(1))


@pytest.mark.parametrize("name", ["drnas", "gdas", "spos-re", "sandwich-rs", "darts"])
@pytest.mark.parametrize("stop", [4, 8])
def test_a_resumed_search_ends_where_one_never_stopped_does(accelerator, tmp_path, monkeypatch, name, stop):
    settings = few_steps(name, gradient_accumulation=2, limits={"params": 50.0})  # tight, so that the multiplier matters

    def new(toy: Toy, folder: Path) -> Search:
        return Search(toy, data(), settings, accelerator=accelerator, run=RunFolder(folder))

    whole = new(Toy(dropout=0.2), tmp_path / "whole")
    whole.train()
    stopped = new(Toy(dropout=0.2), tmp_path / "stopped")
    stop_after(stopped, stop, monkeypatch)
    with pytest.raises(StoppedError):
        stopped.train()
    resumed = new(Toy(dropout=0.2, seed=99), tmp_path / "stopped")
    resumed.load()
    assert resumed.step == stop
    resumed.train()
    ended, wanted = everything(resumed), everything(whole)
    assert {key for key in wanted if not torch.equal(ended[key], wanted[key])} == set()
    assert resumed.budget.multipliers == whole.budget.multipliers
    assert whole.strategy.single_stage == (whole.budget.multipliers.get("params", 0.0) > 0)
    assert resumed.choose().architecture == whole.choose().architecture


def test_a_search_without_a_recorder_is_silent(accelerator, capfd):
    Search(Toy(), data(), few_steps("drnas"), accelerator=accelerator).run()
    assert capfd.readouterr() == ("", "")


def test_checkpoints_are_written_on_the_way_and_at_the_end(accelerator, tmp_path):
    run = RunFolder(tmp_path)
    Search(Toy(), data(), few_steps("drnas", max_steps=9), accelerator=accelerator, run=run).train()
    assert sorted(path.name for path in run.checkpoints.iterdir()) == ["step-00000008", "step-00000009"]


def test_a_checkpoint_of_another_space_is_refused(accelerator, tmp_path):
    run = RunFolder(tmp_path)
    Search(Toy(FIXED_DEPTH), data(), few_steps("drnas", max_steps=1), accelerator=accelerator, run=run).train()
    with pytest.raises(ValueError, match=r"the checkpoint's supernet\.\S+ does not fit this search"):
        Search(Toy(), data(), few_steps("drnas", max_steps=1), accelerator=accelerator, run=run).load()


@pytest.mark.parametrize("name", [name for name in STRATEGIES if name != "darts-2nd"])  # see test_unrolled
def test_the_two_parts_of_the_data_are_never_mixed(accelerator, name, monkeypatch):
    toy = Toy()
    evaluated: list[int] = []
    metrics = toy.metrics

    def noting(batch: dict[str, Tensor], arch: Any) -> dict[str, Tensor]:
        evaluated.extend(batch["id"].tolist())
        return metrics(batch, arch)

    monkeypatch.setattr(toy, "metrics", noting)
    search = Search(toy, data(), few_steps(name, gradient_accumulation=2), accelerator=accelerator)
    toy.seen = []
    search.run()
    trained = [number for weights_learn, ids in toy.seen if weights_learn for number in ids]
    held_out = [number for weights_learn, ids in toy.seen if not weights_learn for number in ids]
    assert len(trained) >= 12 * 2 * 4
    assert all(number < FIRST_HELD_OUT for number in trained)
    assert all(number >= FIRST_HELD_OUT for number in held_out + evaluated)
    assert evaluated
    assert bool(held_out) == STRATEGIES[name](PER_LAYER, 1).single_stage
