"""NSGA-II whose draws depend on the trial alone, so that a study that goes on draws what it would have drawn."""

from __future__ import annotations

import zlib
from typing import Any

import numpy
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, NSGAIISampler
from optuna.study import Study
from optuna.trial import FrozenTrial


class NumberedNSGA2(BaseSampler):
    """optuna's NSGA-II (Deb et al., IEEE TEC 2002), its generator seeded anew for every trial.

    Its populations are in the study; its generator's state would be lost with a process that is killed.

    Args:
        population: how many architectures make a generation.
        seed: together with a trial's number it fixes what is drawn.
    """

    def __init__(self, population: int, seed: int) -> None:
        self.population, self.seed = population, seed

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._seeded(trial.number).infer_relative_search_space(study, trial)

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        return self._seeded(trial.number).sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        # Each decision by a seed of its own: of a trial that was begun and killed, the first ones are in the study already.
        sampler = self._seeded(trial.number, zlib.crc32(param_name.encode()))
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def _seeded(self, *what: int) -> NSGAIISampler:
        seed = int(numpy.random.SeedSequence([self.seed, *what]).generate_state(1)[0])
        return NSGAIISampler(population_size=self.population, seed=seed)
