"""One cell of search_quality: train an architecture from scratch, or evaluate many with a supernet's weights.

python tools/search_quality_cell.py train RUN RESULT ARCHITECTURE-JSON SEED STEPS RATE
python tools/search_quality_cell.py inherit RUN RESULT ARCHITECTURES-FILE

An empty RATE means the learning rate of the run.
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
    """Compute the cell and write its result."""
    kind, run, result, what, *training = sys.argv[1:]
    saved = SavedRun(run)
    accelerator = Accelerator(cpu=True)
    task = saved.task(accelerator)
    if kind == "inherit":
        architectures = [saved.space.architecture(values) for values in json.loads(Path(what).read_text())]
        values: Any = {a.to_json(): evaluate(saved.supernet, task.validation, a, accelerator)["loss"] for a in architectures}
    else:
        architecture = Architecture.from_json(what, saved.space)
        seed, steps, rate = training
        metrics = train_from_scratch(
            saved, task, architecture, int(seed), int(steps), float(rate) if rate else None, accelerator
        )
        values = {**metrics, "params": costs(task.supernet, architecture)["params"]}
    write_atomically(Path(result), json.dumps(values))


def train_from_scratch(
    saved: SavedRun, task: Task, architecture: Architecture, seed: int, steps: int, rate: float | None, accelerator: Accelerator
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
        steps=steps,
        batch_size=saved.config["batch_size"],
        learning_rate=saved.config["learning_rate"] if rate is None else rate,
        seed=1000 + seed,
    )
    return evaluate_alone(model, kind.plain_metrics, task.validation, accelerator)


if __name__ == "__main__":
    main()
