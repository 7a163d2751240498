"""The search: weight steps and architecture steps in turn, then the choice among the likeliest architectures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from accelerate import Accelerator
from knotwork_ops import Architecture, Mixture, Selection
from rich.console import Console
from torch import Tensor

from knotwork_search._alphas import entropy, initial_alphas
from knotwork_search._batches import batches, fixed_batches
from knotwork_search._budget import Budget, costs
from knotwork_search._checkpoint import load_checkpoint, load_optimiser, optimiser_tensors, save_checkpoint
from knotwork_search._compute import CountedSupernet, PassFlops
from knotwork_search._diagnosis import FINITE, origin
from knotwork_search._discretise import shortlist
from knotwork_search._evaluate import evaluate
from knotwork_search._front import check_objectives, nondominated
from knotwork_search._interruption import Interruption
from knotwork_search._non_finite import NonFiniteSteps
from knotwork_search._optimisers import architecture_optimiser, cosine, set_learning_rate, weight_optimiser
from knotwork_search._profile import StepProfile
from knotwork_search._protocols import Batch, Supernet
from knotwork_search._recorder import Recorder
from knotwork_search._run import RunFolder
from knotwork_search._sampling import draw_architecture, extremes, most_likely, seeded, uniform_mixture
from knotwork_search._second_stage import second_stage
from knotwork_search._select import Ranked, choose, finetuned
from knotwork_search._settings import SearchSettings
from knotwork_search._sharding import ShardedSupernet, all_whole, check_shardable, placed_like
from knotwork_search._sweep import sweep
from knotwork_search._training import architecture_update, weight_update
from knotwork_search._unrolled import Lookahead
from knotwork_search.strategies import strategy as strategy_by_name

ALPHA_TRAVEL = 8.0
"""How far an architecture parameter can move over a search when no rate is given."""


@dataclass(frozen=True)
class SearchData:
    """Disjoint parts of the training data: for the weights, and held out for the architecture parameters."""

    weight: Any
    architecture: Any


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        architecture: the best one.
        ranked: the candidates from the best down.
        probabilities: the final ones.
        flops: spent.
        front: what no other beats in all of the settings' ``pareto``, from the cheapest up.
        evaluated: everything that was considered for it.
    """

    architecture: Architecture
    ranked: list[Ranked]
    probabilities: Mixture
    flops: float = math.nan
    front: Sequence[Ranked] = ()
    evaluated: Sequence[Ranked] = ()


class Search:
    """A search of one supernet.

    Args:
        supernet: to be trained in place.
        data: the weight and architecture parts of the training data.
        settings: of the search.
        accelerator: devices, precision and processes; a default one when None.
        run: the folder for checkpoints, or None to keep none.
        recorder: for metrics and progress; a silent one when None.
        profile: of some of the steps, or None.
        storage: URL of the database that holds the study of a two-stage strategy; SQLite in the run's folder when None.
        stop: what may ask the search to stop between two steps; nothing does when None.
        shard_weights: whether every process keeps a part of the weights, and of what the optimiser knows of them, in place of
            all; until ``run`` is done.

    Raises:
        ValueError: an unknown strategy, a budget below the smallest architecture, or weights that cannot be sharded.
    """

    def __init__(
        self,
        supernet: Supernet,
        data: SearchData,
        settings: SearchSettings,
        *,
        accelerator: Accelerator | None = None,
        run: RunFolder | None = None,
        recorder: Recorder | None = None,
        profile: StepProfile | None = None,
        storage: str | None = None,
        stop: Interruption | None = None,
        shard_weights: bool = False,
    ) -> None:
        self.supernet, self.data, self.settings, self.run_folder, self.profile = supernet, data, settings, run, profile
        self.has_workers = storage is not None
        self.storage = f"sqlite:///{run.study}" if storage is None and run is not None else storage
        self.accelerator = accelerator or Accelerator()
        self.strategy = strategy_by_name(settings.strategy, supernet.space, settings.max_steps, settings.strategy_options)
        if self.strategy.second_order and self.accelerator.scaler is not None:
            raise ValueError(f"{settings.strategy} takes gradients that fp16's loss scale does not reach: use bf16 or float32")
        if shard_weights:
            check_shardable(self.accelerator, second_order=self.strategy.second_order, compiled=settings.compile)
        self.budget = Budget(dict(settings.limits))
        self.budget.check_possible(supernet)
        check_objectives(settings.pareto, costs(supernet, supernet.space.smallest))
        self.recorder = recorder or Recorder(None, settings.max_steps, self.accelerator, console=Console(quiet=True))
        device = self.accelerator.device
        self.stop, self.non_finite = stop or Interruption(), NonFiniteSteps(device, self.recorder.message)
        supernet.to(device)
        self.alphas = initial_alphas(supernet.space, settings.seed, device=device)
        self._counted: Any = CountedSupernet(supernet, fixed_batches(data.weight, 1, 1, device)[0], mixtures=self._mixes())
        self._sharded = ShardedSupernet(supernet, self.accelerator) if shard_weights else None
        if self._sharded is not None:
            self._counted.supernet = self._sharded
        self.fair_steps = round(settings.fair_share * settings.max_steps) if self.strategy.single_stage else 0
        self.step = 0
        weights = weight_optimiser(supernet.named_parameters(), settings.learning_rate, settings.weight_decay, device)
        alphas = architecture_optimiser(self.alphas.values(), self.architecture_rate())
        self.weight_optimiser = self.accelerator.prepare_optimizer(weights)
        self.architecture_optimiser = self.accelerator.prepare_optimizer(alphas)
        if settings.compile:
            supernet.compile()

    def run(self) -> SearchResult:
        """Train to the last step and choose."""
        self.train()
        result = self.choose()
        self._gather()
        return result

    def train(self) -> None:
        """Take the steps that are left, saving checkpoints on the way.

        Raises:
            RunInterrupted: it was asked to stop, and has saved a checkpoint.
            DivergedError: step after step the loss was not a finite number.
        """
        settings = self.settings
        weight_stream, architecture_stream = self._streams()
        self.supernet.train(True)
        with closing(self.profile) if self.profile else nullcontext(), self.stop.held():
            while self.step < settings.max_steps:
                step, searching = self.step, self.strategy.single_stage and self.step >= self.fair_steps
                profiled = self.profile.around("search" if searching else "training") if self.profile else nullcontext()
                # Apart from what the step draws: a loader that has just been started may draw as well.
                with seeded("data", settings.seed, step):
                    held_out = self._take(architecture_stream) if searching else []
                    data = self._take(weight_stream)
                with profiled, seeded("step", settings.seed, step):
                    losses = [self._architecture_step(step, held_out, data)] if searching else []
                    losses.append(self._weight_step(step, data))
                self.step += 1
                self.non_finite.note(step, *losses)
                if searching and settings.incumbent_every and self.step % settings.incumbent_every == 0:
                    self._note_incumbent()
                self.non_finite.stop_if_diverged(self.step, partial(self._origin, step, data, held_out))
                if self.step == settings.max_steps or self._checkpoint_is_due():
                    self.save()
                self.stop.stop_if_asked(self.accelerator, self.save)
        self.recorder.flush()

    def choose(self) -> SearchResult:
        """Discretise: shortlist within the budget, compare on the architecture split, return the best."""
        settings, probabilities = self.settings, self.probabilities()
        rest = self.data.weight, self._held_out, settings, self.accelerator, self.recorder.message
        if self.strategy.single_stage:
            share = settings.least_share
            candidates = shortlist(self.supernet, probabilities, self.budget, settings.candidates, least_share=share)
            ranked = choose(self._counted, candidates, *rest)
            evaluated = [*ranked, *sweep(self, self._counted, self._held_out)] if settings.pareto else []
        else:
            evaluated = second_stage(self, self._counted, self._held_out)
            ranked = finetuned(self._counted, evaluated[: settings.candidates], *rest)
        front = nondominated(evaluated, settings.pareto) if settings.pareto else []
        return SearchResult(ranked[0].candidate.architecture, ranked, probabilities, self.flops, front, evaluated)

    @property
    def passes(self) -> PassFlops:
        """What each kind of pass costs."""
        return self._counted.passes

    @property
    def flops(self) -> float:
        """FLOPs of the forward and backward passes so far, over all processes."""
        return self._counted.flops * self.accelerator.num_processes

    def probabilities(self) -> Mixture:
        """The present weight of each option, without gradients."""
        with torch.no_grad():
            return self.strategy.probabilities(self.alphas)

    def save(self) -> None:
        """Write a checkpoint into the run's folder, if there is one. The main process does, but all must ask."""
        if self.run_folder is None:
            return
        self.recorder.flush()
        weights = {f"supernet.{name}": tensor for name, tensor in self.supernet.named_parameters()}
        frozen = {name: tensor for name, tensor in weights.items() if not tensor.requires_grad}
        tensors = {name: tensor for name, tensor in weights.items() if tensor.requires_grad}
        tensors |= {f"alphas.{name}": tensor for name, tensor in self.alphas.items()}
        tensors |= optimiser_tensors("weight_optimiser", self.weight_optimiser)
        tensors |= optimiser_tensors("architecture_optimiser", self.architecture_optimiser)
        tensors, frozen = all_whole(tensors, self.accelerator), all_whole(frozen, self.accelerator)
        if not self.accelerator.is_main_process:
            return
        scaler = self.accelerator.scaler
        state = {
            "step": self.step,
            "flops": self.flops,
            "multipliers": {name: float(value) for name, value in self.budget.multipliers.items()},
            "scaler": None if scaler is None else scaler.state_dict(),
            "skipped": self.non_finite.total,
        }
        save_checkpoint(self.run_folder.checkpoints, self.step, tensors, state, frozen)

    def load(self) -> None:
        """Go on from the run folder's newest readable checkpoint.

        Raises:
            ValueError: there is none, or it does not fit this search.
        """
        assert self.run_folder is not None
        tensors, state = load_checkpoint(self.run_folder.checkpoints, self.recorder.message)
        owned = {f"supernet.{name}": tensor for name, tensor in self.supernet.named_parameters()}
        owned |= {f"alphas.{name}": tensor for name, tensor in self.alphas.items()}
        with torch.no_grad():
            for name, tensor in owned.items():
                if name not in tensors or tensors[name].shape != tensor.shape:
                    raise ValueError(f"the checkpoint's {name} does not fit this search: was it made with another space?")
                tensor.copy_(placed_like(tensors[name], tensor))
        load_optimiser("weight_optimiser", self.weight_optimiser, tensors)
        load_optimiser("architecture_optimiser", self.architecture_optimiser, tensors)
        if self.accelerator.scaler is not None and state["scaler"] is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.step, self.budget.multipliers = int(state["step"]), dict(state["multipliers"])
        self._counted.flops = float(state["flops"]) / self.accelerator.num_processes
        self.non_finite.total = int(state["skipped"])
        self.recorder.resume_at(self.step)

    @cached_property
    def _held_out(self) -> list[Batch]:
        """What architectures are compared on: as much, however the batch of a step is split."""
        settings, accelerator = self.settings, self.accelerator
        count = settings.evaluation_batches * settings.gradient_accumulation * accelerator.num_processes
        return fixed_batches(self.data.architecture, settings.batch_size, count, accelerator.device)

    def _note_incumbent(self) -> None:
        """Record what would be returned now, by its inherited loss."""
        share, probabilities = self.settings.least_share, self.probabilities()
        likeliest = shortlist(self.supernet, probabilities, self.budget, 1, least_share=share)[0].architecture
        uncounted: Any = self._sharded or self.supernet
        loss = evaluate(uncounted, self._held_out, likeliest, self.accelerator)["loss"]
        self.record_incumbent(self.step - 1, likeliest, loss)

    def record_incumbent(self, step: int, architecture: Architecture, loss: float) -> None:
        """Record the best architecture so far; after training, at the step that would follow the last."""
        values = {"architecture": architecture.as_dict(), "loss": loss, "flops": self.flops}
        self.recorder.record(step, "incumbent", values)

    def _mixes(self) -> bool:
        """Whether the strategy runs mixtures."""
        with seeded("first sample"), torch.no_grad():
            return isinstance(self.strategy.sample(self.alphas, 0), Mixture)

    def architecture_rate(self) -> float:
        """The architecture parameters' learning rate."""
        steps = max(1, self.settings.max_steps - self.fair_steps)
        given = self.settings.arch_learning_rate
        return ALPHA_TRAVEL / steps if given is None else given

    def _streams(self) -> tuple[Iterator[Batch], Iterator[Batch]]:
        settings, accumulation = self.settings, self.settings.gradient_accumulation
        common: Any = {"batch_size": settings.batch_size, "accelerator": self.accelerator, "seed": settings.seed}
        done = max(0, self.step - self.fair_steps)
        return (
            batches(self.data.weight, position=self.step * accumulation, **common),
            batches(self.data.architecture, position=done * accumulation, **common),
        )

    def _take(self, stream: Iterator[Batch]) -> list[Batch]:
        return [next(stream) for _ in range(self.settings.gradient_accumulation)]

    def _architecture_step(self, step: int, data: list[Batch], weight_data: list[Batch]) -> Tensor:
        loss, cost = architecture_update(
            self._counted,
            data,
            self.strategy,
            self.alphas,
            step,
            self.budget,
            self.architecture_optimiser,
            self.accelerator,
            Lookahead(weight_data, self._rate(step)) if self.strategy.second_order else None,
        )
        self.budget.ascend(cost)
        self.strategy.after_step(self.alphas, step - self.fair_steps + 1, self.settings.max_steps - self.fair_steps)
        probabilities = self.probabilities()
        values = {
            "loss": loss,
            "expected_cost": cost,
            "multiplier": dict(self.budget.multipliers),
            "entropy": torch.stack([entropy(weights) for weights in probabilities.values()]).mean(),
            "probabilities": dict(probabilities.items()),
        }
        self.recorder.record(step, "architecture", values)
        if step % 10 == 0:
            self.recorder.likeliest(str(most_likely(probabilities)))
        return loss

    def _weight_step(self, step: int, data: list[Batch]) -> Tensor:
        rate = self._rate(step)
        set_learning_rate(self.weight_optimiser, rate)
        selections = self.weight_selections(step)
        common = self.weight_optimiser, self.settings.clip, self.accelerator
        loss = weight_update(self._counted, data, selections, *common, distils=self.strategy.distils)
        self.recorder.record(step, "weight", {"loss": loss, "learning_rate": rate, "flops": self.flops})
        return loss

    def _checkpoint_is_due(self) -> bool:
        return self.step % self.settings.checkpoint_every == 0 and self.non_finite.in_order()

    def _origin(self, step: int, data: list[Batch], held_out: list[Batch]) -> str:
        """Where in the forward passes of a step numbers cease to be finite: that of the weights, then of the alphas."""
        self._gather()

        def loss(arch: Selection, batch: Batch) -> Tensor:
            with self.accelerator.autocast():
                return self.supernet.loss(batch, arch)

        with seeded("step", self.settings.seed, step):
            arch = self.weight_selections(step)[0]
        told = origin(self.supernet, data, partial(loss, arch))
        return origin(self.supernet, held_out, partial(loss, self.probabilities())) if told == FINITE else told

    def _gather(self) -> None:
        """End the sharding of the weights."""
        if self._sharded is not None:
            self._sharded.gather()
            self._sharded, self._counted.supernet = None, self.supernet

    def _rate(self, step: int) -> float:
        """The weights' learning rate."""
        steps = self.settings.max_steps
        return self.settings.learning_rate * cosine(step, steps, max(1, round(self.settings.warmup_share * steps)))

    def weight_selections(self, step: int) -> list[Selection]:
        """What the weights are trained on: fairly drawn single architectures first, then mixtures and likely ones in turn."""
        space = self.supernet.space
        if step < self.fair_steps:
            return [extremes(space)[step % 4] if step % 4 < 2 else draw_architecture(uniform_mixture(space))]
        if self.strategy.single_stage and step % 2:
            return [draw_architecture(self.probabilities())]
        with torch.no_grad():
            return self.strategy.weight_selections(self.alphas, step)
