"""What a search can be told, and what a training of one network alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from knotwork_search._budget import LATENCY


@dataclass(frozen=True)
class SearchSettings:
    """Settings of a search that hold for any family of networks.

    Attributes:
        strategy: name of the strategy.
        strategy_options: what else the strategy takes, such as ``{"entropy": 0.1}`` for DARTS.
        max_steps: weight steps in all.
        batch_size: items in a batch, per process.
        gradient_accumulation: batches summed up for one step.
        learning_rate: peak learning rate of the weights.
        arch_learning_rate: learning rate of the architecture parameters. Adam moves a parameter by about rate x steps, so None
            means ``ALPHA_TRAVEL`` over the number of architecture steps.
        weight_decay: of the weights' matrices.
        warmup_share: share of the steps over which the learning rate rises.
        fair_share: share of the steps in which only weights are trained, on single architectures drawn fairly, before the
            architecture parameters move. Single-stage strategies only.
        clip: largest norm of the weights' gradient.
        limits: the budget, an upper limit by currency.
        candidates: length of the shortlist.
        evaluations: architectures that the second stage of a two-stage strategy evaluates.
        finetune_steps: steps of sliced fine-tuning that each finalist of the shortlist gets before they are compared.
        least_share: how much of the budget a candidate must use.
        evaluation_batches: batches of the architecture split that candidates are compared on, each as large as what one step
            sums up over accumulation and processes.
        incumbent_every: steps between two records of the architecture that would be returned now; 0 for none. A two-stage
            strategy with any other number records each architecture that is better than those before.
        checkpoint_every: steps between checkpoints.
        pareto: ``loss`` and one or two currencies whose front is looked for as well; empty for none.
        seed: of everything random.
        compile: whether the supernet compiles what a mixture runs.
    """

    strategy: str = "drnas"
    strategy_options: Mapping[str, float] = field(default_factory=dict)
    max_steps: int = 400
    batch_size: int = 16
    gradient_accumulation: int = 1
    learning_rate: float = 3e-3
    arch_learning_rate: float | None = None
    weight_decay: float = 0.1
    warmup_share: float = 0.05
    fair_share: float = 0.75
    clip: float = 1.0
    limits: Mapping[str, float] = field(default_factory=dict)
    candidates: int = 16
    evaluations: int = 200
    finetune_steps: int = 60
    least_share: float = 0.85
    evaluation_batches: int = 16
    incumbent_every: int = 0
    checkpoint_every: int = 200
    pareto: tuple[str, ...] = ()
    seed: int = 0
    compile: bool = False

    def __post_init__(self) -> None:
        for name in (
            "max_steps",
            "batch_size",
            "gradient_accumulation",
            "candidates",
            "evaluations",
            "evaluation_batches",
            "checkpoint_every",
        ):
            _require_whole(name, getattr(self, name), 1)
        for name in ("finetune_steps", "incumbent_every"):
            _require_whole(name, getattr(self, name), 0)
        for name in ("learning_rate", "clip"):
            _require(name, getattr(self, name), 1e-12, math.inf)
        if self.arch_learning_rate is not None:
            _require("arch_learning_rate", self.arch_learning_rate, 0, math.inf)
        for name in ("weight_decay", "warmup_share", "fair_share", "least_share"):
            _require(name, getattr(self, name), 0, 1)
        for name, value in self.strategy_options.items():
            _require(f"the strategy's option {name}", value, 0, math.inf)
        for name, limit in self.limits.items():
            # Counts start at one; a pass may well take less than a millisecond.
            _require(f"the budget of {name}", limit, 1e-6 if name == LATENCY else 1, math.inf)


@dataclass(frozen=True)
class TrainSettings:
    """Settings of a training of one network alone.

    Attributes:
        steps: weight steps in all.
        batch_size: items in a batch, per process.
        learning_rate: the peak.
        gradient_accumulation: batches summed up for one step.
        weight_decay: of matrices.
        warmup_share: share of the steps over which the learning rate rises.
        clip: largest norm of the gradient.
        checkpoint_every: steps between checkpoints.
        seed: of the order of the data, and of what steps draw.
    """

    steps: int
    batch_size: int
    learning_rate: float
    gradient_accumulation: int = 1
    weight_decay: float = 0.1
    warmup_share: float = 0.1
    clip: float = 1.0
    checkpoint_every: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "gradient_accumulation", "checkpoint_every"):
            _require_whole(name, getattr(self, name), 1)
        for name in ("learning_rate", "clip"):
            _require(name, getattr(self, name), 1e-12, math.inf)
        for name in ("weight_decay", "warmup_share"):
            _require(name, getattr(self, name), 0, 1)


def _require_whole(name: str, value: int, low: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise ValueError(f"{name} is {value}: it must be at least {low} and a whole number")


def _require(name: str, value: float, low: float, high: float) -> None:
    if not (math.isfinite(value) and low <= value <= high):
        raise ValueError(f"{name} is {value}: it must be at least {low}" + ("" if high == math.inf else f" and at most {high}"))
