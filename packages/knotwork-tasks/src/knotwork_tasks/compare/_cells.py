"""Cells of a comparison, in a process of their own: a search alone, so that its time and memory are its own.

python -m knotwork_tasks.compare._cells '[{"kind": "search", "result": FILE, ...}, ...]'

It ends when its standard input does.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from threading import Thread
from typing import Any

import torch
from accelerate import Accelerator
from knotwork_search import RunFolder, evaluate, write_atomically

from knotwork_tasks._command_line import run_command
from knotwork_tasks._saved import SavedRun
from knotwork_tasks._search import search
from knotwork_tasks._task import Task, task_kind
from knotwork_tasks.compare._scratch import train_from_scratch


def main() -> int:
    """Compute the cells in order and write each one's result."""

    def compute() -> None:
        for job in json.loads(sys.argv[1]):
            write(job, CELLS[job["kind"]](job))

    Thread(target=_end_with_the_comparison, daemon=True).start()
    return run_command("compare", compute)


def _end_with_the_comparison() -> None:
    """End at once, as if killed, when the comparison has: started again, it starts these cells a second time."""
    # Not through `sys.stdin`, whose lock a thread that waits would keep from Python's own end.
    while os.read(0, 1):
        pass
    os._exit(1)


def search_cell(job: Mapping[str, Any]) -> dict[str, Any]:
    """Search, or go on with a search that was killed.

    Returns:
        ``seconds`` (None of a search that was killed between) and ``memory`` (bytes at the peak), beside the run's folder.
    """
    run, kind = RunFolder(job["run"]), task_kind(job["family"])
    resumed = run.config.exists()
    arguments = ["--output-dir", job["run"], "--resume"] if resumed else job["arguments"]
    start = time.perf_counter()
    search(kind.parse("compare", "", arguments), kind.prepare)
    return {"seconds": None if resumed else time.perf_counter() - start, "memory": _peak()}


def training_cell(job: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics on the validation data of the plain model of an architecture, trained from scratch.

    Its learning rate is the search's own when none is given.
    """
    saved, task = _opened(job["run"])
    rate = job.get("learning_rate") or saved.config["learning_rate"]
    return train_from_scratch(saved, task, job["architecture"], job["seed"], job["steps"], rate, Accelerator())


def inheriting_cell(job: Mapping[str, Any]) -> dict[str, Any]:
    """Losses on the validation data of architectures with a searched supernet's weights."""
    accelerator = Accelerator()
    saved, task = _opened(job["run"])
    supernet = saved.supernet.to(accelerator.device)
    architectures = [saved.space.architecture(values) for values in job["architectures"]]
    return {"losses": [evaluate(supernet, task.validation, a, accelerator)["loss"] for a in architectures]}


CELLS = {"search": search_cell, "train": training_cell, "inherit": inheriting_cell}


@lru_cache(maxsize=1)
def _opened(run: str) -> tuple[SavedRun, Task]:
    """A run with its data, which is read once for cells that follow each other."""
    saved = SavedRun(run)
    return saved, saved.task(Accelerator())


def write(job: Mapping[str, Any], result: dict[str, Any]) -> None:
    """Keep a cell's result."""
    path = Path(job["result"])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(result))


def _peak() -> int:
    """Bytes of the accelerator's memory, or without one of this process'."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    sys.exit(main())
