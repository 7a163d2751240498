"""A training from its flags to the finished folder, whatever the data."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from knotwork_export import push_to_hub
from knotwork_search import (
    Batch,
    Interruption,
    Recorder,
    RunFolder,
    Training,
    TrainSettings,
    evaluate_alone,
    versions,
    write_atomically,
)
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

from knotwork_tasks._accelerator import open_accelerator, start_trackers
from knotwork_tasks._search import PACKAGES
from knotwork_tasks.training._distillation import distillation_loss
from knotwork_tasks.training._flags import INHERIT, TrainFlags
from knotwork_tasks.training._precision import Precisions, precisions, to_float32, to_precisions
from knotwork_tasks.training._start import Start, read_start
from knotwork_tasks.training._task import TrainingTask

FlagsT = TypeVar("FlagsT", bound=TrainFlags)
Figures = dict[str, float]
Prepare = Callable[[FlagsT, Start, RunFolder, Accelerator], TrainingTask]


def train(flags: FlagsT, prepare: Prepare[FlagsT]) -> None:
    """Train a model and write it back in the format that it came in, with the numbers of its card updated.

    The output folder gets ``config.yaml``, ``metrics.jsonl``, ``checkpoints/``, ``model/`` and, last, ``training.json``. What
    the training starts from is only read.

    Args:
        flags: the settings.
        prepare: builds the task: the model, its data and its teacher. Called after the seed is set, with the output folder,
            which exists only when the training is resumed.

    Raises:
        ValueError, OSError: for what the user can mend.
        ExportError: the written folder is not the model.
    """
    run = RunFolder(flags.output_dir)
    if not flags.resume:
        run.check_free()
    elif run.training.exists():
        print(f"{run.path} is finished: see {run.model}")
        return
    start = read_start(flags.model)
    settings = _settings(flags)
    with Interruption(flags.max_seconds) as stop:
        accelerator = open_accelerator(flags, run)
        task = prepare(flags, start, run, accelerator)
        if not flags.resume and accelerator.is_main_process:
            _check_writable(task)
        came_in = precisions(task.model)
        to_float32(task.model)
        before = _evaluated(task, accelerator)
        training = _training(flags, run, task, settings, accelerator, stop)
        recorder = training.recorder
        if training.step == 0:
            recorder.record(0, "validation", before)
        with recorder:
            training.run()
        # What is measured is what is written: in the precision that the weights came in.
        to_precisions(task.model, came_in)
        to_float32(task.model)
        after = _evaluated(task, accelerator)
        recorder.record(flags.steps, "validation", after)
        recorder.flush()
    if accelerator.is_main_process:
        _finish(flags, run, start, task, came_in, before, after)
    accelerator.end_training()


def _training(
    flags: TrainFlags, run: RunFolder, task: TrainingTask, settings: TrainSettings, accelerator: Accelerator, stop: Interruption
) -> Training:
    """The training, at its beginning, which is kept, or where the newest checkpoint is."""
    items = flags.batch_size * flags.gradient_accumulation * accelerator.num_processes
    units = {"unit": task.unit, "units_per_step": items * task.units_per_item}
    recorder = Recorder(run.metrics, flags.steps, accelerator, timed=not flags.deterministic, **units)
    own: dict[str, Any] = {"checkpoints": run.checkpoints, "recorder": recorder, "stop": stop}
    training = Training(task.model, _loss(flags, task), task.training_data, settings, accelerator, **own)
    if flags.resume:
        training.load()
    elif accelerator.is_main_process:
        with run.create(flags.as_config()):
            task.save(run)
            training.save()
    start_trackers(flags, accelerator)
    return training


def _settings(flags: TrainFlags) -> TrainSettings:
    return TrainSettings(
        steps=flags.steps,
        batch_size=flags.batch_size,
        learning_rate=flags.learning_rate,
        gradient_accumulation=flags.gradient_accumulation,
        weight_decay=flags.weight_decay,
        checkpoint_every=flags.checkpoint_every,
        seed=flags.seed,
    )


def _evaluated(task: TrainingTask, accelerator: Accelerator) -> Figures:
    task.model.to(accelerator.device)
    return task.complete(evaluate_alone(task.model, task.metrics, task.validation, accelerator))


def _loss(flags: TrainFlags, task: TrainingTask) -> Callable[[Batch], Tensor]:
    """The loss of a batch: of its labels, and of the teacher's predictions where there is one."""
    called: Any = torch.compile(task.model) if flags.compile else task.model
    return partial(_batch_loss, called, task, flags.temperature, flags.distillation_weight)


def _batch_loss(called: nn.Module, task: TrainingTask, temperature: float, weight: float, batch: Batch) -> Tensor:
    logits, targets = task.predictions(called, batch)
    if task.teacher is None or weight == 0:
        return F.cross_entropy(logits, targets)
    with torch.no_grad():
        taught = task.teacher(batch)
    return distillation_loss(logits, taught, targets, temperature, weight)


def _check_writable(task: TrainingTask) -> None:
    """Write the model once, to nowhere: what cannot be written should be known before it is trained.

    Raises:
        ValueError, ExportError: it cannot.
    """
    with tempfile.TemporaryDirectory(prefix="knotwork-train-") as room:
        task.export(Path(room) / "model", verify=False)


def _finish(
    flags: TrainFlags,
    run: RunFolder,
    start: Start,
    task: TrainingTask,
    came_in: Precisions,
    before: Figures,
    after: Figures,
) -> None:
    """Write the model and the record, and tell the person who waits."""
    task.model.cpu().train(False)
    to_precisions(task.model, came_in)
    if flags.resume and run.model.exists():
        shutil.rmtree(run.model)  # written just before the training was killed, so perhaps without the rest
    provenance = replace(start.provenance, metrics=after, before=before, training=_told(flags))
    task.export(run.model, provenance, start.card)
    to_float32(task.model)
    with torch.no_grad():
        samples = task.samples()
    record = {
        "model": flags.model,
        "init": flags.init,
        "teacher": flags.teacher,
        "dataset": flags.dataset,
        "steps": flags.steps,
        "seed": flags.seed,
        "before": before,
        "after": after,
        "samples": samples,
        "versions": versions(PACKAGES),
    }
    write_atomically(run.training, json.dumps(record, indent=2) + "\n")
    console = Console()
    console.print(_table(task, before, after))
    for sample in samples:
        console.print(repr(sample), markup=False, highlight=False, soft_wrap=True)
    print(f"trained and verified: {run.model}\n\n{task.loading(run.model)}")
    if flags.push_to_hub:
        print(push_to_hub(run.model, flags.push_to_hub))


def _told(flags: TrainFlags) -> dict[str, Any]:
    """What the card says of the training."""
    told = {
        "started from": flags.model,
        "initial weights": "inherited" if flags.init == INHERIT else "drawn anew",
        "dataset": flags.dataset,
        "steps": flags.steps,
        "batch size": flags.batch_size,
        "gradient accumulation": flags.gradient_accumulation,
        "learning rate": flags.learning_rate,
        "weight decay": flags.weight_decay,
        "precision": "float32" if flags.mixed_precision == "no" else flags.mixed_precision,
        "seed": flags.seed,
    }
    if flags.teacher is not None:
        told |= {
            "teacher": flags.teacher,
            "temperature": flags.temperature,
            "distillation weight": flags.distillation_weight,
        }
    return told


def _table(task: TrainingTask, before: Figures, after: Figures) -> Table:
    table = Table("metric", "before", "after", title="validation data")
    for name, label in task.labels.items():
        if name in after:
            table.add_row(label, f"{before[name]:.4f}", f"{after[name]:.4f}")
    return table
