"""Training one network alone: what a found architecture is finished, retrained and compared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from rich.console import Console
from torch import Tensor, nn

from knotwork_search._batches import batches
from knotwork_search._checkpoint import load_checkpoint, load_optimiser, optimiser_tensors, save_checkpoint
from knotwork_search._diagnosis import origin
from knotwork_search._evaluate import Metrics
from knotwork_search._gradients import average_gradients
from knotwork_search._interruption import Interruption
from knotwork_search._non_finite import NonFiniteSteps
from knotwork_search._optimisers import cosine, set_learning_rate, weight_optimiser
from knotwork_search._protocols import Batch
from knotwork_search._recorder import Recorder
from knotwork_search._sampling import seeded
from knotwork_search._settings import TrainSettings
from knotwork_search._training import over_processes, step_where_finite


class Training:
    """Trains a plain model in place: AdamW, the rate rising linearly and then falling to nothing in a half cosine.

    What a step draws (dropout, the order and augmentation of the data) is a function of the seed and the step, so a training
    that goes on from a checkpoint ends where an uninterrupted one does.

    Args:
        model: moved to the accelerator's device.
        loss: of a batch, 0-dim; it calls the model.
        data: as ``batches`` takes it.
        settings: of the training.
        accelerator: devices, precision and processes.
        checkpoints: folder for checkpoints, or None to keep none.
        recorder: for metrics and progress; a silent one when None.
        stop: what may ask the training to stop between two steps; nothing does when None.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[[Batch], Tensor],
        data: Any,
        settings: TrainSettings,
        accelerator: Accelerator,
        *,
        checkpoints: Path | None = None,
        recorder: Recorder | None = None,
        stop: Interruption | None = None,
    ) -> None:
        self.model, self.loss, self.data, self.settings, self.accelerator = model, loss, data, settings, accelerator
        self.checkpoints = checkpoints
        self.recorder = recorder or Recorder(None, settings.steps, accelerator, console=Console(quiet=True))
        self.stop, self.non_finite = stop or Interruption(), NonFiniteSteps(accelerator.device, self.recorder.message)
        self.step = 0
        model.to(accelerator.device)
        optimiser = weight_optimiser(
            model.named_parameters(), settings.learning_rate, settings.weight_decay, accelerator.device
        )
        self.optimiser: Any = accelerator.prepare_optimizer(optimiser)

    def run(self) -> None:
        """Take the steps that are left, saving checkpoints on the way.

        Raises:
            RunInterrupted: it was asked to stop, and has saved a checkpoint.
            DivergedError: step after step the loss was not a finite number.
        """
        settings = self.settings
        position = self.step * settings.gradient_accumulation
        stream = batches(self.data, settings.batch_size, self.accelerator, seed=settings.seed, position=position)
        self.model.train(True)
        with self.stop.held():
            while self.step < settings.steps:
                data = [next(stream) for _ in range(settings.gradient_accumulation)]
                with seeded("training", settings.seed, self.step):
                    self.non_finite.note(self.step, self._take_step(data))
                self.step += 1
                self.non_finite.stop_if_diverged(self.step, partial(self._origin, data))
                if self.step == settings.steps or self._checkpoint_is_due():
                    self.save()
                self.stop.stop_if_asked(self.accelerator, self.save)
        self.recorder.flush()

    def save(self) -> None:
        """Write a checkpoint, if there is a folder for it."""
        if self.checkpoints is None or not self.accelerator.is_main_process:
            return
        self.recorder.flush()
        tensors = {**self._owned(), **optimiser_tensors("optimiser", self.optimiser)}
        scaler = self.accelerator.scaler
        state = {"step": self.step, "scaler": None if scaler is None else scaler.state_dict()}
        state["skipped"] = self.non_finite.total
        save_checkpoint(self.checkpoints, self.step, tensors, state)

    def load(self) -> None:
        """Go on from the newest readable checkpoint.

        Raises:
            ValueError: there is none, or it is of another model.
        """
        assert self.checkpoints is not None
        tensors, state = load_checkpoint(self.checkpoints, self.recorder.message)
        with torch.no_grad():
            for name, tensor in self._owned().items():
                if name not in tensors or tensors[name].shape != tensor.shape:
                    raise ValueError(f"the checkpoint in {self.checkpoints} has no fitting {name}: it is of another model")
                tensor.copy_(tensors[name])
        load_optimiser("optimiser", self.optimiser, tensors)
        if self.accelerator.scaler is not None and state["scaler"] is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.step, self.non_finite.total = int(state["step"]), int(state["skipped"])
        self.recorder.resume_at(self.step)

    def _take_step(self, data: Sequence[Batch]) -> Tensor:
        """One step on the mean loss of some batches; the loss, not a number where the step was skipped."""
        settings, accelerator = self.settings, self.accelerator
        warmup = max(1, round(settings.steps * settings.warmup_share))
        rate = settings.learning_rate * cosine(self.step, settings.steps, warmup, floor=0.0)
        set_learning_rate(self.optimiser, rate)
        total = torch.zeros((), device=accelerator.device)
        for batch in data:
            with accelerator.autocast():
                loss = self.loss(batch) / len(data)
            accelerator.backward(loss)
            total += loss.detach()
        parameters = list(self.model.parameters())
        average_gradients(parameters, accelerator)
        norm = accelerator.clip_grad_norm_(parameters, settings.clip)
        total = step_where_finite(self.optimiser, over_processes(total, accelerator), norm, accelerator)
        self.recorder.record(self.step, "weight", {"loss": total, "learning_rate": rate})
        return total

    def _checkpoint_is_due(self) -> bool:
        return self.step % self.settings.checkpoint_every == 0 and self.non_finite.in_order()

    def _origin(self, data: Sequence[Batch]) -> str:
        """Where in the forward pass of a step numbers cease to be finite."""

        def loss(batch: Batch) -> Tensor:
            with self.accelerator.autocast():
                return self.loss(batch)

        return origin(self.model, data, loss)

    def _owned(self) -> dict[str, Tensor]:
        """What training changes, tied parameters once: parameters, and the buffers that belong to the state."""
        kept = self.model.state_dict().keys()
        buffers = {name: tensor for name, tensor in self.model.named_buffers() if name in kept}
        return {f"model.{name}": tensor for name, tensor in (*self.model.named_parameters(), *buffers.items())}


def train_alone(
    model: nn.Module,
    metrics: Metrics,
    data: Any,
    accelerator: Accelerator,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    weight_decay: float = 0.1,
    warmup_share: float = 0.1,
    clip: float = 1.0,
    seed: int = 0,
) -> None:
    """Train a plain model in place, as ``Training`` does, and keep nothing of it.

    Args:
        model: to be trained.
        metrics: ``loss`` of a batch among them, such as a family's ``plain_metrics``.
        data: as ``batches`` takes it.
        accelerator: for its device and precision.
        steps: weight steps.
        batch_size: items in a batch.
        learning_rate: the peak.
        weight_decay: of matrices.
        warmup_share: share of the steps over which the rate rises.
        clip: largest norm of the gradient.
        seed: of the order of the data, and of dropout.
    """
    settings = TrainSettings(
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        warmup_share=warmup_share,
        clip=clip,
        seed=seed,
    )
    Training(model, lambda batch: metrics(model, batch)["loss"], data, settings, accelerator).run()
