import csv
import io
from typing import Any

import pytest
import torch
from knotwork_search import Budget, Candidate, Ranked, Search, costs, front_csv, nondominated
from knotwork_search._front import check_objectives
from knotwork_search._sweep import budgets

from .test_loop import data, few_steps
from .toy import PER_LAYER, Toy, every_architecture

PARETO = ("params", "loss")


def entries(count: int, seed: int = 0) -> list[Ranked]:
    """Architectures with losses and costs of few values, so that many are equal."""
    generator = torch.Generator().manual_seed(seed)
    losses, params, flops = torch.randint(1, 6, (3, count), generator=generator).double().tolist()
    cost = [{"params": p, "flops": f} for p, f in zip(params, flops, strict=True)]
    nets = every_architecture(PER_LAYER)[:count]
    return [Ranked(Candidate(a, 0.0, c), loss) for a, c, loss in zip(nets, cost, losses, strict=True)]


def values(entry: Ranked, objectives: tuple[str, ...]) -> list[float]:
    return [entry.loss if name == "loss" else entry.candidate.cost[name] for name in objectives]


def beats(one: list[float], other: list[float]) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True)) and one != other


@pytest.mark.parametrize("objectives", [PARETO, ("loss", "flops"), ("loss", "params", "flops")])
@pytest.mark.parametrize("seed", range(5))
def test_the_front_is_what_nothing_beats(objectives: tuple[str, ...], seed: int):
    everything = entries(60, seed)
    front = nondominated(everything, objectives)
    found = [values(entry, objectives) for entry in front]
    wanted = [v for e in everything if not any(beats(values(o, objectives), v := values(e, objectives)) for o in everything)]
    # Of equal ones one is enough.
    assert sorted(found) == sorted(set(map(tuple, wanted)), key=list) or sorted(map(tuple, found)) == sorted(
        set(map(tuple, wanted))
    )
    first = next(name for name in objectives if name != "loss")
    prices = [entry.candidate.cost[first] for entry in front]
    assert prices == sorted(prices)


def test_the_front_as_csv():
    front = nondominated(entries(60), PARETO)
    rows = list(csv.DictReader(io.StringIO(front_csv(front, PARETO))))
    assert [row["point"] for row in rows] == [str(number) for number in range(1, len(front) + 1)]
    for row, entry in zip(rows, front, strict=True):
        assert float(row["params"]) == entry.candidate.cost["params"]
        assert float(row["loss"]) == entry.loss
        assert row["width"] == str(entry.candidate.architecture["width"])


@pytest.mark.parametrize(
    ("objectives", "message"),
    [
        (("loss", "joules"), "no objective 'joules': known are \\['loss', 'params', 'flops'\\]"),
        (("params", "flops"), "name loss and one or two of"),
        (("loss",), "name loss and one or two of"),
        (("loss", "loss"), "name loss and one or two of"),
    ],
)
def test_objectives_that_span_no_front_are_refused(accelerator, objectives, message):
    with pytest.raises(ValueError, match=message):
        check_objectives(objectives, ["params", "flops"])
    with pytest.raises(ValueError, match=message):
        Search(Toy(), data(), few_steps("drnas", pareto=objectives), accelerator=accelerator)


def test_budgets_fall_from_the_searchs_own_towards_the_smallest():
    toy: Any = Toy()
    smallest, largest = (costs(toy, edge) for edge in (PER_LAYER.smallest, PER_LAYER.largest))
    free, tight = budgets(toy, {}, ["params", "flops"]), budgets(toy, {"params": 100.0}, ["params"])
    assert free[0] == largest
    assert tight[0] == {"params": 100.0}
    for one in (free, tight):
        for name in one[0]:
            limits = [limit[name] for limit in one]
            assert limits == sorted(limits, reverse=True)
            assert limits[-1] > smallest[name]


@pytest.mark.parametrize("name", ["drnas", "gdas", "spos-re", "sandwich-nsga2"])
def test_a_search_finds_a_front_and_its_weights_stay(accelerator, name):
    toy = Toy()
    limits = {"params": 285.0}
    search = Search(
        toy, data(), few_steps(name, max_steps=40, pareto=PARETO, limits=limits, evaluations=20), accelerator=accelerator
    )
    search.train()
    before = {key: value.detach().clone() for key, value in [*toy.named_parameters(), *search.alphas.items()]}
    spent = search.flops
    result = search.choose()
    assert search.flops > spent
    assert all(torch.equal(value, before[key]) for key, value in [*toy.named_parameters(), *search.alphas.items()])
    assert len(result.front) > 1
    assert {e.candidate.architecture for e in result.front} <= {e.candidate.architecture for e in result.evaluated}
    assert all(Budget(limits).met_by(entry.candidate.cost) for entry in result.evaluated)
    prices = [entry.candidate.cost["params"] for entry in result.front]
    losses = [entry.loss for entry in result.front]
    assert prices == sorted(set(prices))
    assert losses == sorted(losses, reverse=True)
    assert prices[0] < 0.5 * limits["params"]
