from collections.abc import Mapping
from typing import Any

import numpy
import optuna
import pytest
import torch
from knotwork_ops import DEPTH, Architecture, Choice, SearchSpace
from knotwork_search import BlackBox, Budget, costs
from knotwork_search._evolution import RegularisedEvolution, architecture_of, distributions, parameters_of
from optuna.trial import create_trial
from torch import Tensor

from .toy import PER_LAYER, SPACES, Toy, every_architecture

WIDE = SearchSpace((Choice("a", (1, 2, 3, 4, 5, 6)), Choice(DEPTH, (2, 3, 4)), Choice("b", (1, 2, 3, 4, 5, 6), layers=4)))
WANTED = {"a": 4, "depth": 3, "b": 5}
"""What has the loss zero."""


class Valley:
    """A supernet as a black box sees it: a cost, and a loss that is the distance from one architecture."""

    space = WIDE

    def cost(self, arch: Any) -> dict[str, Tensor]:
        total = arch["a"] * sum(arch["b"])
        return {"params": torch.tensor(float(total)), "flops": torch.tensor(2.0 * total)}


def loss_of(arch: Architecture) -> float:
    distance = sum(abs(option - WANTED["b"]) for option in arch["b"])
    return float(abs(arch["a"] - WANTED["a"]) + abs(arch["depth"] - WANTED["depth"]) + distance)


def searched(searcher: str, accelerator: Any, limits: Mapping[str, float] | None = None, **settings: Any) -> list[Any]:
    chosen: dict[str, Any] = {"evaluations": 120} | settings
    search = BlackBox(searcher, **chosen)
    valley: Any = Valley()
    return search.run(valley, Budget(limits or {}), loss_of, accelerator)


@pytest.mark.parametrize("kind", SPACES)
def test_parameters_describe_every_architecture(kind):
    space = SPACES[kind]
    names = distributions(space)
    for architecture in every_architecture(space):
        parameters = parameters_of(space, architecture)
        assert parameters.keys() == names.keys()
        assert all(option in names[name].choices for name, option in parameters.items())
        assert architecture_of(space, parameters) == architecture


@pytest.mark.parametrize("searcher", ["random", "evolution", "nsga2"])
def test_every_searcher_ranks_distinct_architectures_within_the_budget(accelerator, searcher):
    valley: Any = Valley()
    ranked = searched(searcher, accelerator, {"params": 50.0, "flops": 90.0}, evaluations=60)
    assert len({entry.candidate.architecture for entry in ranked}) == len(ranked) == 60
    assert [entry.loss for entry in ranked] == sorted(loss_of(entry.candidate.architecture) for entry in ranked)
    for entry in ranked:
        assert entry.candidate.cost == costs(valley, entry.candidate.architecture)
        assert entry.candidate.cost["params"] <= 45


def test_evolution_beats_chance_and_repeats_itself(accelerator):
    best = {
        searcher: [searched(searcher, accelerator, evaluations=100, seed=seed)[0].loss for seed in range(8)]
        for searcher in ("random", "evolution")
    }
    assert numpy.mean(best["evolution"]) <= numpy.mean(best["random"]) - 0.5
    seeds = [searched("evolution", accelerator, evaluations=50, seed=seed) for seed in (3, 3, 4)]
    assert seeds[0] == seeds[1] != seeds[2]


def test_evolution_uses_the_budget(accelerator):
    limits = {"params": 60.0}
    assert all(r.candidate.cost["params"] >= 51 for r in searched("evolution", accelerator, limits, least_share=0.85))


def test_nsga2_pushes_the_front_further_than_chance(accelerator):
    def front(searcher: str, seed: int) -> float:
        ranked = searched(searcher, accelerator, evaluations=250, seed=seed)
        return sum(min(r.loss for r in ranked if r.candidate.cost["params"] <= cost) for cost in range(10, 60, 5))

    assert sum(front("nsga2", seed) for seed in range(3)) < sum(front("random", seed) for seed in range(3)) - 10


def test_a_space_with_fewer_architectures_is_exhausted(accelerator, tmp_path):
    toy, storage = Toy(SPACES["uniform"]), f"sqlite:///{tmp_path / 'study.db'}"
    search = BlackBox("evolution", 30, storage=storage)
    found = search.run(toy, Budget(), lambda architecture: costs(toy, architecture)["params"], accelerator)
    assert {entry.candidate.architecture for entry in found} == set(every_architecture(toy.space))
    # The database holds each once, beside the last proposal, which brought nothing new.
    (summary,) = optuna.get_all_study_summaries(storage)
    assert summary.n_trials == len(found) + 1


def test_a_loss_that_is_no_number_is_not_ranked_nor_computed_again(accelerator):
    toy, asked = Toy(SPACES["uniform"]), []

    def diverges(architecture: Architecture) -> float:
        asked.append(architecture)
        return float("nan") if architecture["ratio"] == 1 else 1.0

    found = BlackBox("evolution", 30).run(toy, Budget(), diverges, accelerator)
    everything = every_architecture(toy.space)
    assert {entry.candidate.architecture for entry in found} == {a for a in everything if a["ratio"] > 1}
    assert len(asked) == len(everything)


@pytest.mark.parametrize("searcher", ["evolution", "nsga2"])
def test_a_killed_search_evaluates_what_it_would_have(accelerator, tmp_path, searcher):
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    evaluated: list[Architecture] = []

    def killed_at(count: int) -> Any:
        def loss(architecture: Architecture) -> float:
            if len(evaluated) == count:
                raise KeyboardInterrupt
            evaluated.append(architecture)
            # Now and then one diverges.
            return float("nan") if len(evaluated) % 7 == 0 else loss_of(architecture)

        return loss

    valley: Any = Valley()
    whole = BlackBox(searcher, 30).run(valley, Budget(), killed_at(1000), accelerator)
    wanted = evaluated.copy()
    assert len(wanted) == len(set(wanted)) == 30
    evaluated.clear()
    search = BlackBox(searcher, 30, storage=storage)
    # In the midst of the first generation, and of later ones.
    for count in (3, 18, 29):
        with pytest.raises(KeyboardInterrupt):
            search.run(valley, Budget(), killed_at(count), accelerator)
    recalled: list[tuple[Architecture, float]] = []
    ranked = search.run(valley, Budget(), killed_at(1000), accelerator, lambda *told: recalled.append(told))
    assert evaluated == wanted
    assert ranked == whole
    assert [architecture for architecture, _ in recalled] == wanted[:29]
    assert [loss == float("inf") for _, loss in recalled] == [number % 7 == 0 for number in range(1, 30)]
    # A second worker that comes late finds everything done.
    assert search.run(valley, Budget(), killed_at(0), accelerator) == ranked


def test_what_another_worker_evaluates_is_left_to_it(accelerator, tmp_path):
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    valley: Any = Valley()
    search = BlackBox("evolution", 8, storage=storage, alone=False)
    others: list[Architecture] = []

    def busy(architecture: Architecture) -> float:
        others.append(architecture)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search.run(valley, Budget(), busy, accelerator)
    evaluated: list[Architecture] = []

    def loss(architecture: Architecture) -> float:
        evaluated.append(architecture)
        return loss_of(architecture)

    search.run(valley, Budget(), loss, accelerator, lambda *_: pytest.fail("another worker's evaluations are no own ones"))
    assert others[0] not in evaluated


def test_a_study_of_something_else_is_refused(accelerator, tmp_path):
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    valley: Any = Valley()
    BlackBox("evolution", 4, storage=storage).run(valley, Budget(), loss_of, accelerator)
    with pytest.raises(ValueError, match="study 'search' is of another space or other objectives: give another storage"):
        BlackBox("nsga2", 4, storage=storage).run(valley, Budget(), loss_of, accelerator)
    toy = Toy()
    with pytest.raises(ValueError, match="another space"):
        BlackBox("evolution", 4, storage=storage).run(toy, Budget(), lambda architecture: 0.0, accelerator)


@pytest.mark.parametrize("url", ["nosuchdatabase://somewhere/study", "sqlite:////no/such/folder/study.db"])
def test_a_storage_that_cannot_be_used_is_named(accelerator, url):
    with pytest.raises(ValueError, match=f"the study's {url.partition(':')[0]} storage cannot be used"):
        searched("evolution", accelerator, storage=url)


def test_an_unknown_searcher_is_refused():
    with pytest.raises(ValueError, match="unknown searcher 'annealing': known are random, evolution and nsga2"):
        BlackBox("annealing", 10)


def test_children_differ_from_the_best_of_the_youngest_in_few_decisions():
    parameters = distributions(PER_LAYER)
    study = optuna.create_study(sampler=RegularisedEvolution(PER_LAYER, population=4, sample=4, mutation=0.0, seed=1))
    old, parent, other = (parameters_of(PER_LAYER, a) for a in (PER_LAYER.largest, PER_LAYER.smallest, PER_LAYER.largest))
    # The best of all is too old to be a parent.
    for params, value in ((old, 0.0), (other, 2.0), (parent, 1.0), (other, 2.0), (other, 3.0)):
        study.add_trial(create_trial(params=params, distributions={**parameters}, value=value))
    for _ in range(10):
        child = study.ask(fixed_distributions={**parameters}).params
        assert sum(child[name] != parent[name] for name in child) <= 1


def test_children_that_are_not_accepted_are_bred_again():
    def accept(architecture: Architecture) -> bool:
        return architecture["width"] == 4

    sampler = RegularisedEvolution(PER_LAYER, population=3, accept=accept)
    study = optuna.create_study(sampler=sampler)
    for _ in range(8):
        trial = study.ask(fixed_distributions={**distributions(PER_LAYER)})
        assert trial.params["width"] == 4
        study.tell(trial, 1.0)
