import re
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from knotwork_ops import Architecture, Choice, SearchSpace, Selection
from knotwork_search import (
    Budget,
    Candidate,
    SearchSettings,
    choose,
    costs,
    evaluate,
    fixed_batches,
    random_candidates,
    shortlist,
)
from torch import Tensor, nn

from .toy import PER_LAYER, Toy, every_architecture, numbered, random_mixture, same, weights_of

CPU = torch.device("cpu")


def settings_of(**changes: Any) -> SearchSettings:
    return SearchSettings(**({"batch_size": 4, "finetune_steps": 12, "learning_rate": 0.05} | changes))


def toy_candidates(toy: Toy, count: int = 8) -> list[Candidate]:
    return [Candidate(a, 0.0, costs(toy, a)) for a in every_architecture(toy.space)[:: 117 // count][:count]]


class LateBloomer(nn.Module):
    """Option ``i`` has loss ``i`` but for the third, whose weight starts at 1 and is all that stands between it and loss 0."""

    space = SearchSpace((Choice("option", tuple(range(1, 17))),))

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def loss(self, batch: Mapping[str, Tensor], arch: Selection) -> Tensor:
        assert isinstance(arch, Architecture)
        return 3 * self.weight.square() if arch["option"] == 3 else arch["option"] + 0 * self.weight

    def teach(self, batch: Mapping[str, Tensor], arch: Architecture) -> tuple[Tensor, Mapping[str, Tensor]]:
        raise NotImplementedError

    def metrics(self, batch: Mapping[str, Tensor], arch: Selection) -> dict[str, Tensor]:
        return {"loss": self.loss(batch, arch)}

    def cost(self, arch: Any) -> dict[str, Tensor]:
        return {"params": torch.tensor(1.0)}

    def extract(self, arch: Architecture) -> nn.Module:
        raise NotImplementedError


def test_evaluate_weighs_batches_by_their_size(accelerator):
    toy, data = Toy(dropout=0.9), numbered(10)
    uneven = evaluate(toy, fixed_batches(data, 4, 9, CPU), PER_LAYER.largest, accelerator)
    whole = evaluate(toy, fixed_batches(data, 10, 1, CPU), PER_LAYER.largest, accelerator)
    assert uneven == pytest.approx(whole, rel=1e-5)  # and has no dropout
    assert set(whole) == {"loss", "error"}
    assert toy.training


def test_choose_puts_the_weights_back_bit_for_bit(accelerator):
    toy, notes = Toy(), []
    before = weights_of(toy)
    held_out = fixed_batches(numbered(24, 1000), 4, 4, CPU)
    ranked = choose(toy, toy_candidates(toy), numbered(40), held_out, settings_of(), accelerator, notes.append)
    assert same(weights_of(toy), before)
    assert all(parameter.grad is None for parameter in toy.parameters())
    assert sorted(map(str, (r.candidate.architecture for r in ranked))) == sorted(
        str(candidate.architecture) for candidate in toy_candidates(toy)
    )
    assert ranked[0].finetuned_loss is not None
    for entry in ranked:
        assert entry.loss == evaluate(toy, held_out, entry.candidate.architecture, accelerator)["loss"]
    assert notes


def test_weights_are_put_back_after_an_error(accelerator, monkeypatch):
    toy = Toy()
    before, calls = weights_of(toy), []
    loss = toy.loss

    def failing(batch: dict[str, Tensor], arch: Selection) -> Tensor:
        calls.append(arch)
        if len(calls) == 4:
            raise RuntimeError("out of memory")
        return loss(batch, arch)

    monkeypatch.setattr(toy, "loss", failing)
    held_out = fixed_batches(numbered(24, 1000), 4, 4, CPU)
    with pytest.raises(RuntimeError, match="out of memory"):
        choose(toy, toy_candidates(toy), numbered(40), held_out, settings_of(), accelerator)
    assert same(weights_of(toy), before)


def test_choose_is_a_function_of_the_seed(accelerator):
    def ranking(seed: int) -> list[dict[str, Any]]:
        torch.manual_seed(torch.seed())
        toy = Toy(dropout=0.2)
        held_out = fixed_batches(numbered(24, 1000), 4, 4, CPU)
        found = choose(toy, toy_candidates(toy), numbered(40), held_out, settings_of(seed=seed), accelerator)
        return [entry.as_dict() for entry in found]

    assert ranking(0) == ranking(0)
    assert ranking(0) != ranking(1)


def test_choose_ranks_by_the_finetuned_loss(accelerator):
    net = LateBloomer()
    candidates = [Candidate(a, 0.0, {"params": 1.0}) for a in every_architecture(net.space)]
    held_out = fixed_batches(numbered(4), 4, 1, CPU)
    settings = settings_of(learning_rate=0.7, weight_decay=0.0, finetune_steps=30)
    ranked = choose(net, candidates, numbered(8), held_out, settings, accelerator)
    best = ranked[0]
    assert best.candidate.architecture["option"] == 3
    assert best.loss == 3
    assert best.finetuned_loss is not None
    assert best.finetuned_loss < 1
    assert net.weight.item() == 1
    # Those that were not fine-tuned follow those that were.
    tuned = [entry.finetuned_loss is not None for entry in ranked]
    assert tuned == sorted(tuned, reverse=True)


def test_without_finetuning_the_inherited_loss_decides(accelerator):
    toy, net = Toy(), LateBloomer()
    held_out = fixed_batches(numbered(24, 1000), 4, 4, CPU)
    settings = settings_of(finetune_steps=0)
    ranked = choose(toy, toy_candidates(toy), numbered(40), held_out, settings, accelerator)
    losses = [entry.loss for entry in ranked]
    assert losses == sorted(losses)
    assert all(entry.finetuned_loss is None for entry in ranked)
    candidates = [Candidate(a, 0.0, {"params": 1.0}) for a in every_architecture(net.space)]
    assert choose(net, candidates, numbered(8), held_out, settings, accelerator)[0].candidate.architecture["option"] == 1


def test_choosing_leaves_nothing_in_the_accelerator(accelerator):
    toy = Toy()
    before = len(accelerator._optimizers), len(accelerator._dataloaders)
    held_out = fixed_batches(numbered(24, 1000), 4, 4, CPU)
    choose(toy, toy_candidates(toy), numbered(40), held_out, settings_of(), accelerator)
    assert (len(accelerator._optimizers), len(accelerator._dataloaders)) == before


def test_random_candidates_are_distinct_and_within_the_window():
    toy = Toy()
    budget = Budget({"params": 285.0})
    torch.manual_seed(3)
    before = torch.get_rng_state()
    found = random_candidates(toy, budget, 8, least_share=0.85, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert len({candidate.architecture for candidate in found}) == len(found) == 8
    assert all(0.85 * 285 <= candidate.cost["params"] <= 285 for candidate in found)
    assert all(candidate.cost == costs(toy, candidate.architecture) for candidate in found)
    assert found == random_candidates(toy, budget, 8, least_share=0.85, seed=1)
    assert found != random_candidates(toy, budget, 8, least_share=0.85, seed=2)


def test_random_candidates_of_a_small_window_are_all_there_are():
    toy = Toy()
    wanted = {a for a in every_architecture(PER_LAYER) if 45 <= costs(toy, a)["params"] <= 50}
    found = random_candidates(toy, Budget({"params": 50.0}), 1000, least_share=0.9, seed=0, tries=1500)
    assert {candidate.architecture for candidate in found} == wanted


def test_random_candidates_settle_for_a_smaller_share_as_the_shortlist_does():
    toy = Toy()
    dearest = max(costs(toy, a)["params"] for a in every_architecture(PER_LAYER))
    budget = Budget({"params": dearest / 0.65})  # none uses 70% of it, some use 60%
    found = random_candidates(toy, budget, 1000, least_share=0.85, seed=0, tries=1500)
    wanted = {a for a in every_architecture(PER_LAYER) if costs(toy, a)["params"] >= 0.6 * dearest / 0.65}
    assert {candidate.architecture for candidate in found} == wanted
    assert {c.architecture for c in shortlist(toy, random_mixture(PER_LAYER, 0), budget, 1000, least_share=0.85)} == wanted


def test_random_candidates_under_an_impossible_budget_are_refused():
    with pytest.raises(ValueError, match=re.escape("no architecture drawn meets the budget {'params': 2.0}")):
        random_candidates(Toy(), Budget({"params": 2.0}), 4, least_share=1.0, seed=0, tries=20)
