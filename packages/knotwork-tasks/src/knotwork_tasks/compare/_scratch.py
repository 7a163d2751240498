"""The yardstick: a plain network trained from scratch on all of a run's training data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accelerate import Accelerator
from accelerate.utils import set_seed
from knotwork_search import evaluate_alone, train_alone
from knotwork_spaces import family

from knotwork_tasks._saved import SavedRun
from knotwork_tasks._task import Task


def train_from_scratch(
    saved: SavedRun,
    task: Task,
    architecture: Mapping[str, Any],
    seed: int,
    steps: int,
    learning_rate: float,
    accelerator: Accelerator,
) -> dict[str, float]:
    """Validation metrics of the plain upstream model of an architecture after training.

    Args:
        saved: a run, whose space and batch size count.
        task: the run's.
        architecture: its values.
        seed: of the initial weights and of the order of the data; no search draws from the same.
        steps: weight steps.
        learning_rate: the peak.
        accelerator: for its device and precision.
    """
    set_seed(1000 + seed)
    kind = family(saved.space.family)
    model = kind.plain_model(saved.space, saved.space.architecture(architecture)).to(accelerator.device)
    train_alone(
        model,
        kind.plain_metrics,
        task.training_data,
        accelerator,
        steps=steps,
        batch_size=saved.config["batch_size"],
        learning_rate=learning_rate,
        seed=1000 + seed,
    )
    return evaluate_alone(model, kind.plain_metrics, task.validation, accelerator)
