import math
import re

import pytest
import torch
from knotwork_ops import DEPTH, Architecture, Mixture
from knotwork_search import Budget, costs, likeliest, shortlist

from .toy import SPACES, Toy, every_architecture, random_mixture


def score(architecture: Architecture, probabilities: Mixture) -> float:
    """Log-probability relative to each decision's likeliest option, of the decisions that the architecture takes."""
    space, total = probabilities.space, 0.0
    for choice in space:
        value = architecture[choice.name]
        rows = probabilities[choice.name].double().log().view(-1, len(choice.options))
        for row, option in zip(rows, value if choice.per_layer else (value,), strict=False):
            total += float(row[choice.options.index(option)] - row.max())
    return total


def budgets(toy: Toy) -> list[tuple[Budget, float]]:
    all_costs = [costs(toy, architecture) for architecture in every_architecture(toy.space)]
    params, flops = (sorted(cost[name] for cost in all_costs) for name in ("params", "flops"))
    middle = len(params) // 2
    return [
        (Budget(), 0.0),
        (Budget({"params": params[middle]}), 0.0),
        (Budget({"params": params[middle]}), 0.85),
        (Budget({"params": params[-1]}), 0.6),
        (Budget({"params": params[middle], "flops": flops[middle // 2]}), 0.5),
        (Budget({"flops": flops[0]}), 1.0),
    ]


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("case", range(6))
def test_likeliest_is_the_sorted_enumeration(space, seed, case):
    toy, probabilities = Toy(space), random_mixture(space, seed)
    budget, share = budgets(toy)[case]
    wanted = {
        architecture: score(architecture, probabilities)
        for architecture in every_architecture(space)
        if budget.met_by(costs(toy, architecture)) and budget.used_by(costs(toy, architecture), share)
    }
    found = list(likeliest(toy, probabilities, budget, share))
    assert wanted
    assert len(found) == len(wanted)  # no duplicates
    assert {candidate.architecture: candidate.log_probability for candidate in found} == pytest.approx(wanted, abs=1e-9)
    scores = [candidate.log_probability for candidate in found]
    assert scores == sorted(scores, reverse=True)
    assert all(candidate.cost == costs(toy, candidate.architecture) for candidate in found)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_shortlist_is_the_head_of_likeliest(space):
    toy, probabilities = Toy(space), random_mixture(space, 7)
    everything = list(likeliest(toy, probabilities, Budget()))
    assert shortlist(toy, probabilities, Budget(), 5) == everything[:5]
    assert shortlist(toy, probabilities, Budget(), 10_000) == everything
    assert everything[0].log_probability == 0


def test_depth_is_not_unlikely_for_having_more_decisions():
    space = SPACES["per layer"]
    weights = {choice.name: torch.full(choice.shape, 1 / 3) for choice in space}
    weights[DEPTH] = torch.tensor([0.3, 0.3, 0.4])
    first = next(likeliest(Toy(space), Mixture(space, weights), Budget()))
    assert first.architecture[DEPTH] == 3


def test_a_decided_mixture_is_enumerated_too():
    space = SPACES["per layer"]
    toy, decided = Toy(space), Mixture.one_hot(space, space.largest)
    found = list(likeliest(toy, decided, Budget()))
    assert found[0].architecture == space.largest
    assert len(found) == len(every_architecture(space))
    assert all(math.isfinite(candidate.log_probability) for candidate in found)


def test_shortlist_drops_the_share_that_no_architecture_uses():
    space = SPACES["uniform"]
    toy = Toy(space)
    two = sorted({costs(toy, architecture)["params"] for architecture in every_architecture(space)})[:2]
    budget = Budget({"params": two[1] - 1})
    assert not list(likeliest(toy, random_mixture(space, 0), budget, 1.0))
    found = shortlist(toy, random_mixture(space, 0), budget, 4, least_share=1.0)
    assert [candidate.cost["params"] for candidate in found] == two[:1]


def test_shortlist_says_that_nothing_fits():
    message = re.escape("no architecture of this space meets the budget {'params': 3.0}")
    with pytest.raises(ValueError, match=message):
        shortlist(Toy(), random_mixture(SPACES["per layer"], 0), Budget({"params": 3.0}), 4, least_share=0.5)
