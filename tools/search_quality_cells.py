"""Cells of search_quality, for one process: architectures trained from scratch, or evaluated with a supernet's weights.

python tools/search_quality_cells.py '{"run": FOLDER, "steps": N, "learning_rate": R, "cells": [...]}'

A cell is {"result": FILE, "architecture": {...}}, with a "seed" when it is to be trained from scratch.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import set_seed
from knotwork_ops import Architecture
from knotwork_search import costs, evaluate, evaluate_alone, train_alone, write_atomically
from knotwork_spaces import family
from knotwork_tasks import SavedRun, Task


def main() -> None:
    """Compute the cells in order and write each one's result."""
    job = json.loads(sys.argv[1])
    saved = SavedRun(job["run"])
    accelerator = Accelerator(cpu=True)
    task = saved.task(accelerator)
    for cell in job["cells"]:
        architecture = saved.space.architecture(cell["architecture"])
        if "seed" in cell:
            values = train_from_scratch(saved, task, architecture, cell["seed"], job, accelerator)
        else:
            values = evaluate(saved.supernet, task.validation, architecture, accelerator)
        values["params"] = costs(task.supernet, architecture)["params"]
        path = Path(cell["result"])
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, json.dumps(values))


def train_from_scratch(
    saved: SavedRun, task: Task, architecture: Architecture, seed: int, job: dict[str, Any], accelerator: Accelerator
) -> dict[str, float]:
    """Validation metrics of the plain upstream model after training on all of the training data."""
    set_seed(1000 + seed)
    kind = family(saved.space.family)
    model = kind.plain_model(saved.space, architecture)
    train_alone(
        model,
        kind.plain_metrics,
        task.training_data,
        accelerator,
        steps=job["steps"],
        batch_size=saved.config["batch_size"],
        learning_rate=job["learning_rate"],
        seed=1000 + seed,
    )
    return evaluate_alone(model, kind.plain_metrics, task.validation, accelerator)


if __name__ == "__main__":
    main()
