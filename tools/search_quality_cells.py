"""Cells of search_quality, for one process: architectures trained from scratch, or evaluated with a supernet's weights.

python tools/search_quality_cells.py '{"run": FOLDER, "steps": N, "learning_rate": R, "cells": [...]}'

A cell is {"result": FILE, "architecture": {...}}, with a "seed" when it is to be trained from scratch.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from accelerate import Accelerator
from knotwork_search import costs, evaluate, write_atomically
from knotwork_tasks import SavedRun
from knotwork_tasks.compare import train_from_scratch


def main() -> None:
    """Compute the cells in order and write each one's result."""
    job = json.loads(sys.argv[1])
    saved = SavedRun(job["run"])
    accelerator = Accelerator(cpu=True)
    task = saved.task(accelerator)
    for cell in job["cells"]:
        architecture = saved.space.architecture(cell["architecture"])
        if "seed" in cell:
            values = train_from_scratch(
                saved, task, architecture, cell["seed"], job["steps"], job["learning_rate"], accelerator
            )
        else:
            values = evaluate(saved.supernet, task.validation, architecture, accelerator)
        values["params"] = costs(task.supernet, architecture)["params"]
        path = Path(cell["result"])
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, json.dumps(values))


if __name__ == "__main__":
    main()
