import math
import re

import pytest
import torch
from knotwork_search import Budget, costs

from .toy import PER_LAYER, Toy, random_mixture

SMALLEST = 5 * 2 + 1 + (2 * 4 + 2 + 2)
"""Parameters of width 2, depth 1, ratio 1: embedding and head, then one block."""


def test_costs_are_plain_numbers():
    assert costs(Toy(), PER_LAYER.smallest) == {"params": float(SMALLEST), "flops": float(4 * 2 + 2 * 4)}


def test_penalty_is_the_multiplier_times_the_log_excess():
    budget = Budget({"params": 50.0, "flops": 20.0}, multipliers={"params": 0.3, "flops": 2.0})
    cost = {"params": torch.tensor(80.0, requires_grad=True), "flops": torch.tensor(10.0, requires_grad=True)}
    penalty = budget.penalty(cost)
    assert penalty.item() == pytest.approx(0.3 * math.log(80 / 50) + 2 * math.log(10 / 20))
    penalty.backward()
    assert cost["params"].grad is not None
    assert cost["flops"].grad is not None
    assert float(cost["params"].grad) == pytest.approx(0.3 / 80)
    assert float(cost["flops"].grad) == pytest.approx(2 / 10)


def test_penalty_pulls_the_mixture_through_the_expected_cost():
    toy, budget = Toy(), Budget({"params": 50.0}, multipliers={"params": 0.7})
    mixture = random_mixture(PER_LAYER, 0)
    for weights in mixture.values():
        weights.requires_grad_()
    budget.penalty(toy.cost(mixture)).backward()
    expected = toy.cost(mixture)["params"].item()
    found = mixture["width"].grad
    for weights in mixture.values():
        weights.grad = None
    toy.cost(mixture)["params"].backward()
    assert found is not None
    assert mixture["width"].grad is not None
    torch.testing.assert_close(found, 0.7 / expected * mixture["width"].grad)
    assert bool((found > 0).all())
    assert found.argmax() == 2


def test_no_budget_costs_nothing():
    budget = Budget()
    assert float(budget.penalty({"params": torch.tensor(1e9)})) == 0
    budget.ascend({"params": torch.tensor(1e9)})
    assert budget.multipliers == {}
    assert budget.met_by({"params": 1e9})
    assert budget.used_by({"params": 1.0}, 1.0)
    budget.check_possible(Toy())


def test_multiplier_rises_over_the_limit_and_falls_under_it_to_zero():
    budget = Budget({"params": 100.0}, rate=0.5)
    assert float(budget.penalty({"params": torch.tensor(200.0)})) == 0
    budget.ascend({"params": torch.tensor(200.0)})
    budget.ascend({"params": torch.tensor(150.0)})
    risen = 0.5 * math.log(2) + 0.5 * math.log(1.5)
    assert budget.multipliers["params"] == pytest.approx(risen)
    budget.ascend({"params": torch.tensor(80.0)})
    assert budget.multipliers["params"] == pytest.approx(risen + 0.5 * math.log(0.8))
    for _ in range(20):
        budget.ascend({"params": torch.tensor(50.0)})
        assert budget.multipliers["params"] >= 0
    assert budget.multipliers["params"] == 0


def test_currencies_have_their_own_multipliers():
    budget = Budget({"params": 100.0, "flops": 10.0}, rate=1.0, multipliers={"params": 1.0, "flops": 1.0})
    budget.ascend({"params": torch.tensor(200.0), "flops": torch.tensor(5.0)})
    assert budget.multipliers == pytest.approx({"params": 1 + math.log(2), "flops": 1 - math.log(2)})


def test_met_means_every_limit_and_used_means_any():
    budget = Budget({"params": 100.0, "flops": 10.0})
    assert budget.met_by({"params": 100.0, "flops": 10.0})
    assert not budget.met_by({"params": 100.1, "flops": 1.0})
    assert not budget.met_by({"params": 1.0, "flops": 10.1})
    assert budget.used_by({"params": 90.0, "flops": 1.0}, 0.9)
    assert not budget.used_by({"params": 89.0, "flops": 8.9}, 0.9)


def test_impossible_budget_names_the_smallest_cost():
    Budget({"params": float(SMALLEST)}).check_possible(Toy())
    message = f"the budget of {SMALLEST - 1} params is below the smallest architecture, which has {SMALLEST}"
    with pytest.raises(ValueError, match=message):
        Budget({"params": SMALLEST - 1.0}).check_possible(Toy())


def test_unknown_currency_lists_those_there_are():
    with pytest.raises(ValueError, match=re.escape("no cost named 'joules': it has ['params', 'flops']")):
        Budget({"joules": 5.0}).check_possible(Toy())
