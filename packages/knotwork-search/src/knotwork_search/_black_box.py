"""The second stage of two-stage search: architectures of a trained supernet, evaluated with inherited weights.

Evolution and NSGA-II are optuna's business: its study remembers every architecture with its loss, so that a killed search goes
on where it was, and several machines that hold the same supernet share one study in a database.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from textwrap import shorten
from typing import Any

import optuna
from accelerate import Accelerator
from knotwork_ops import Architecture
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import TrialState

from knotwork_search._budget import Budget, costs
from knotwork_search._discretise import Candidate, shares_to_try
from knotwork_search._evolution import PROPOSALS, RegularisedEvolution, architecture_of, distributions, parameters_of
from knotwork_search._nsga2 import NumberedNSGA2
from knotwork_search._processes import shared
from knotwork_search._protocols import Supernet
from knotwork_search._select import Ranked, by_loss, random_candidates

POPULATION = 50
"""As in SPOS."""


@dataclass(frozen=True)
class BlackBox:
    """A search that sees of each architecture its loss and its cost.

    Attributes:
        searcher: ``random``, ``evolution`` (regularised: Real et al., AAAI 2019) or ``nsga2`` (Deb et al., 2002), which looks
            for the front of loss and cost.
        evaluations: how many architectures are evaluated, those of other workers included.
        least_share: how much of the budget an architecture must use; ``nsga2`` does not ask.
        seed: of everything drawn.
        storage: URL of the database that holds the study, or None to keep it in memory. Random search keeps none.
        study: its name there, which all workers of one search share.
        currencies: what ``nsga2`` trades the loss for; those of the budget, or parameters, by default.
        alone: whether no other worker has part in the study, so that what was begun there was so by a killed process.
    """

    searcher: str
    evaluations: int
    least_share: float = 0.0
    seed: int = 0
    storage: str | None = None
    study: str = "search"
    currencies: tuple[str, ...] = ()
    alone: bool = True

    def __post_init__(self) -> None:
        if self.searcher not in ("random", "evolution", "nsga2"):
            raise ValueError(f"unknown searcher {self.searcher!r}: known are random, evolution and nsga2")

    def run(
        self,
        supernet: Supernet,
        budget: Budget,
        loss_of: Callable[[Architecture], float],
        accelerator: Accelerator,
        recall: Callable[[Architecture, float], None] = lambda *_: None,
    ) -> list[Ranked]:
        """Evaluate architectures that meet the budget; the best come first.

        Args:
            supernet: whose space and costs count.
            budget: what every architecture evaluated meets.
            loss_of: an architecture's loss. Every process calls it, for the same architectures.
            accelerator: whose main process decides which.
            recall: told first, in order, what a search that was killed had evaluated, and the loss; infinite where not finite.

        Raises:
            ValueError: no architecture drawn meets the budget, or a storage that cannot be used.
        """
        if self.searcher == "random":
            size, share = self.evaluations, self.least_share
            drawn = random_candidates(supernet, budget, size, least_share=share, seed=self.seed)
            return by_loss(Ranked(candidate, loss_of(candidate.architecture)) for candidate in drawn)
        study = _Study(self, supernet, budget) if accelerator.is_main_process else None
        for values, loss in shared(study and study.evaluated(), accelerator) if self.alone else ():
            recall(supernet.space.architecture(values), loss)
        while (proposed := shared(study and study.ask(), accelerator)) is not None:
            loss = loss_of(supernet.space.architecture(proposed))
            if study is not None:
                study.tell(loss)
        told = shared(study and study.evaluated(), accelerator)
        evaluated = [(supernet.space.architecture(values), loss) for values, loss in told if math.isfinite(loss)]
        return by_loss(Ranked(Candidate(a, 0.0, costs(supernet, a)), loss) for a, loss in evaluated)


class _Study:
    """An optuna study whose proposals are architectures."""

    def __init__(self, search: BlackBox, supernet: Supernet, budget: Budget) -> None:
        self.search, self.supernet, self.budget, self.space = search, supernet, budget, supernet.space
        population = max(2, min(POPULATION, search.evaluations // 4))
        several = search.searcher == "nsga2"
        self.currencies = (search.currencies or tuple(budget.limits) or ("params",)) if several else ()
        share = 0.0 if several else search.least_share
        first = random_candidates(supernet, budget, population, least_share=share, seed=search.seed)
        self.share = next(s for s in shares_to_try(share) if all(budget.used_by(c.cost, s) for c in first))
        self.sampler: BaseSampler = (
            NumberedNSGA2(population, search.seed)
            if several
            else RegularisedEvolution(self.space, population=population, accept=self._is_wanted, seed=search.seed)
        )
        with _explained(search.storage):
            self.study = _opened(search, self.sampler, ["loss", *self.currencies], self.space.as_dict())
            for candidate in first[len(self.study.get_trials(deepcopy=False)) :]:
                self.study.enqueue_trial(parameters_of(self.space, candidate.architecture))
            self.begun = self.study.get_trials(states=(TrialState.RUNNING,)) if search.alone else []
        self.losses: dict[Architecture, float] = {}
        self.read: set[int] = set()
        self.asked: tuple[optuna.Trial, Architecture] | None = None

    def ask(self) -> dict[str, Any] | None:
        """The next architecture to evaluate, as its values; None when enough have been, or no new one is proposed."""
        with _explained(self.search.storage):
            return self._ask()

    def _ask(self) -> dict[str, Any] | None:
        for _ in range(PROPOSALS):
            self._read()
            if len(self.losses) >= self.search.evaluations:
                return None
            trial = self._trial()
            architecture = architecture_of(self.space, trial.params)
            if self._is_wanted(architecture):
                self.asked = trial, architecture
                return architecture.as_dict()
            if isinstance(self.sampler, RegularisedEvolution) and self.sampler.exhausted:
                self.study.tell(trial, state=TrialState.PRUNED)
                return None
            if architecture in self.losses:
                self._tell(trial, architecture, self.losses[architecture])
            else:
                self.study.tell(trial, state=TrialState.PRUNED)
        return None

    def _trial(self) -> optuna.Trial:
        """The trial that a killed process had begun, with what it would have drawn, or else a new one."""
        decisions = distributions(self.space)
        if not self.begun:
            return self.study.ask(fixed_distributions={**decisions})
        trial = optuna.Trial(self.study, self.begun.pop(0)._trial_id)
        for name, distribution in decisions.items():
            trial.suggest_categorical(name, distribution.choices)
        return trial

    def tell(self, loss: float) -> None:
        """The loss of what was asked for."""
        assert self.asked is not None
        with _explained(self.search.storage):
            self._tell(*self.asked, loss)
            self._read()
            if math.isfinite(loss) and self.asked[1] not in self.losses:
                raise ValueError("it does not keep what it is told")  # and would be asked for ever

    def evaluated(self) -> list[tuple[dict[str, Any], float]]:
        """Every architecture evaluated, as its values, with its loss; infinite where it is not finite."""
        with _explained(self.search.storage):
            self._read()
        return [(architecture.as_dict(), loss) for architecture, loss in self.losses.items()]

    def _tell(self, trial: optuna.Trial, architecture: Architecture, loss: float) -> None:
        if not math.isfinite(loss):
            self.study.tell(trial, state=TrialState.FAIL)
            return
        cost = costs(self.supernet, architecture)
        self.study.tell(trial, [loss, *(cost[name] for name in self.currencies)])

    def _read(self) -> None:
        """What has been evaluated, by this worker and others."""
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.FAIL)):
            if trial.number not in self.read:
                self.read.add(trial.number)
                architecture = architecture_of(self.space, trial.params)
                self.losses.setdefault(architecture, math.inf if trial.state == TrialState.FAIL else float(trial.values[0]))

    def _is_wanted(self, architecture: Architecture) -> bool:
        """Whether an architecture is within the budget, and was not evaluated yet."""
        if architecture in self.losses:
            return False
        cost = costs(self.supernet, architecture)
        return self.budget.met_by(cost) and self.budget.used_by(cost, self.share)


class _StudyError(ValueError):
    """What is wrong with a storage, in words."""


@contextmanager
def _explained(storage: str | None) -> Iterator[None]:
    """Explain whatever is wrong with a storage: it may be damaged, or of anyone's making."""
    try:
        yield
    except _StudyError:
        raise
    except Exception as error:  # of whatever database and driver the URL names, of JSON, and of optuna itself
        if storage is None:
            raise
        what = shorten(str(error) or type(error).__name__, 500)
        raise _StudyError(f"the study's {storage.partition('://')[0]} storage cannot be used: {what}") from error


def study_name(*identity: Any) -> str:
    """A name for the study of one search, from what it consists of as JSON values."""
    return "knotwork-" + hashlib.blake2b(json.dumps(identity, sort_keys=True).encode(), digest_size=8).hexdigest()


def _opened(search: BlackBox, sampler: BaseSampler, objectives: Sequence[str], space: Any) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=search.storage,
        sampler=sampler,
        study_name=search.study,
        directions=[StudyDirection.MINIMIZE] * len(objectives),
        load_if_exists=True,
    )
    identity = {"space": json.loads(json.dumps(space)), "objectives": list(objectives)}
    if study.user_attrs.setdefault("identity", identity) != identity:
        raise _StudyError(f"the storage's study {search.study!r} is of another space or other objectives: give another storage")
    study.set_user_attr("identity", identity)
    return study
