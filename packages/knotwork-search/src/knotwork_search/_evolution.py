"""Regularised evolution as an optuna sampler, and architectures as optuna's parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy
from knotwork_ops import DEPTH, Architecture, SearchSpace
from optuna import Study
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

Parameters = dict[str, Any]
"""An option for each decision: a choice, or one layer of a per-layer choice."""

CHILDREN = 100
"""Mutations of one parent that are tried before other parents are drawn."""
PROPOSALS = 300
"""In a row that may not be evaluated or have been, before the space counts as exhausted."""


def distributions(space: SearchSpace) -> dict[str, CategoricalDistribution]:
    """One categorical parameter a decision: ``embed_dim``, or ``mlp_ratio.3`` of the fourth layer."""
    found = {}
    for choice in space:
        names = [choice.name] if choice.layers is None else [f"{choice.name}.{layer}" for layer in range(choice.layers)]
        found |= {name: CategoricalDistribution(choice.options) for name in names}
    return found


def architecture_of(space: SearchSpace, parameters: Mapping[str, Any]) -> Architecture:
    """The architecture of a decision each; those for layers beyond its depth are not looked at."""
    values: dict[str, Any] = {choice.name: parameters[choice.name] for choice in space if choice.layers is None}
    for choice in space:
        if choice.layers is not None:
            layers = space.layers_used(choice, values) or 0
            values[choice.name] = [parameters[f"{choice.name}.{layer}"] for layer in range(layers)]
    return space.architecture(values)


def parameters_of(space: SearchSpace, architecture: Architecture) -> Parameters:
    """A decision each; layers beyond the depth get the smallest option."""
    found: Parameters = {}
    for choice in space:
        if choice.layers is None:
            found[choice.name] = architecture[choice.name]
            continue
        used = architecture[DEPTH] if DEPTH in space else choice.layers
        for layer in range(choice.layers):
            found[f"{choice.name}.{layer}"] = architecture.at(choice.name, layer) if layer < used else choice.options[0]
    return found


class RegularisedEvolution(BaseSampler):
    """Aging evolution (Real et al., AAAI 2019, algorithm 1): a child of the best of some that are drawn among the youngest.

    The mutation is that of SPOS (Guo et al., ECCV 2020, algorithm 1): every decision is drawn anew with a small probability.

    Args:
        space: of the parameters.
        population: how many of the latest architectures can be parents; before there are as many, children are drawn uniformly.
        sample: how many of them are drawn, to take the best.
        mutation: probability with which a decision is drawn anew; one at least is.
        accept: whether an architecture is to be evaluated; a child that is not is bred again.
        seed: together with a trial's number it fixes what is drawn, so that a study that goes on repeats nothing.

    Attributes:
        exhausted: whether the latest child is one that is not to be evaluated, as were all that were tried before it.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        population: int,
        accept: Callable[[Architecture], bool] = lambda architecture: True,
        sample: int = 10,
        mutation: float = 0.1,
        seed: int = 0,
    ) -> None:
        self.space, self.distributions = space, distributions(space)
        self.population, self.sample, self.mutation, self.accept, self.seed = population, sample, mutation, accept, seed
        self.exhausted = False

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {**self.distributions}

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> Parameters:
        finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        proposed: Parameters = {}
        for proposed in self._proposals(finished, numpy.random.default_rng([self.seed, trial.number])):
            self.exhausted = not self.accept(architecture_of(self.space, proposed))
            if not self.exhausted:
                break
        return proposed

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        raise ValueError(f"{param_name} is no decision of this space: it has {list(self.distributions)}")

    def _proposals(self, finished: Sequence[FrozenTrial], generator: numpy.random.Generator) -> Iterator[Parameters]:
        if len(finished) >= self.population:
            parent = self._parent(finished, generator)
            for _ in range(CHILDREN):
                yield self._child(parent, generator)
        # Uniform draws reach what no parent's likely children are.
        for _ in range(PROPOSALS):
            yield {name: _drawn(distribution.choices, generator) for name, distribution in self.distributions.items()}
            if finished:
                yield self._child(self._parent(finished, generator), generator)

    def _parent(self, finished: Sequence[FrozenTrial], generator: numpy.random.Generator) -> Parameters:
        youngest = finished[-self.population :]
        drawn = generator.choice(len(youngest), size=min(self.sample, len(youngest)), replace=False)
        return min((youngest[i] for i in drawn), key=lambda trial: trial.values[0]).params

    def _child(self, parent: Mapping[str, Any], generator: numpy.random.Generator) -> Parameters:
        changeable = [name for name, distribution in self.distributions.items() if len(distribution.choices) > 1]
        if not changeable:
            return dict(parent)
        redrawn = {name for name in changeable if generator.random() < self.mutation} or {_drawn(changeable, generator)}
        return {
            name: _drawn(d.choices, generator) if name in redrawn else parent[name] for name, d in self.distributions.items()
        }


def _drawn(options: Sequence[Any], generator: numpy.random.Generator) -> Any:
    return options[int(generator.integers(len(options)))]
