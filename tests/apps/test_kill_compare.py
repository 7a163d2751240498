"""A comparison that is killed, with its cells or without them, goes on where it was; one that is told to stop says how."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import pytest
from knotwork_search import load_checkpoint

from .processes import start

KILLS = 8
UNLIKE = ("seconds", "memory")
"""What differs from one comparison to the next."""


def wait_until(condition: Callable[[], bool], log: Path, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)


def cells_of(process: Any) -> list[psutil.Process]:
    """The processes that compute a comparison's cells, and what they have started."""
    return psutil.Process(process.pid).children(recursive=True)


def ended(processes: list[psutil.Process]) -> bool:
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


def records(run: Path) -> list[str]:
    """The metrics' whole lines."""
    file = run / "metrics.jsonl"
    return [line for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")] if file.exists() else []


def last_step(run: Path) -> int:
    return int(load_checkpoint(run / "checkpoints")[1]["step"]) if (run / "config.yaml").exists() else -1


def finished(folder: Path) -> dict[str, tuple[bytes, int]]:
    """What finished cells found, and when."""
    files = sorted((folder / "cells").glob("*.json"))
    return {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in files}


@pytest.fixture
def endless(space_file: Path, text_file: Path, tmp_path: Path) -> list[str]:
    """Flags of a comparison whose search goes on for hours, with one checkpoint at its beginning."""
    search = f"{{dataset: {text_file}, max_steps: 1000000, checkpoint_every: 1000000}}"
    given = ["--output-dir", str(tmp_path / "out"), "--space", str(space_file), "--strategies", "drnas,random"]
    return [*given, "--seeds", "1", "--ranked", "2", "--search", search]


def test_cells_end_with_a_killed_comparison(endless: list[str], tmp_path: Path):
    log, run = tmp_path / "log.txt", tmp_path / "out/drnas-0"
    process = start("compare", endless, log)
    wait_until(lambda: len(records(run)) > 10, log)
    cells = cells_of(process)
    assert cells
    process.kill()
    wait_until(lambda: ended(cells), log, seconds=10)


@pytest.mark.slow
def test_a_stopped_comparison_goes_on_from_its_checkpoint(endless: list[str], tmp_path: Path):
    log, run = tmp_path / "log.txt", tmp_path / "out/drnas-0"
    process = start("compare", endless, log)
    wait_until(lambda: len(records(run)) > 10, log)
    cells = cells_of(process)
    os.kill(process.pid, signal.SIGTERM)
    process.join(60)
    assert process.exitcode == 143, log.read_text()
    assert "compare: terminated: the same command goes on where it was" in log.read_text()
    assert "Traceback" not in log.read_text()
    assert ended(cells)
    before = records(run)
    assert last_step(run) > 0
    # Again, until it is beyond the checkpoint: no step is taken twice.
    process = start("compare", endless, log)
    wait_until(lambda: len(records(run)) > len(before) + 10, log)
    process.kill()
    assert records(run)[: len(before)] == before


@pytest.mark.slow
def test_killed_comparisons_end_as_one_that_was_never_killed(space_file: Path, text_file: Path, tmp_path: Path):
    log, runs = tmp_path / "log.txt", ("drnas-0", "sandwich-re-0")
    search = (
        f"{{dataset: {text_file}, granularity: per-layer, max_steps: 80, evaluations: 6, candidates: 2, finetune_steps: 0, "
    )
    search += "checkpoint_every: 1, deterministic: true}"
    given = ["--space", str(space_file), "--strategies", "drnas,sandwich-re,random", "--seeds", "1", "--ranked", "3"]
    given += ["--retrain-steps", "20", "--search", search]
    begun = time.monotonic()
    process = start("compare", [*given, "--output-dir", str(tmp_path / "whole")], log)
    process.join()
    assert process.exitcode == 0, log.read_text()
    longest = time.monotonic() - begun
    generator, kills, folder = random.Random(time.time_ns()), 0, tmp_path / "killed"
    history: list[tuple[float, str, list[int]]] = []
    for attempt in count():
        before, steps = finished(folder), [last_step(folder / run) for run in runs]
        process = start("compare", [*given, "--output-dir", str(folder)], log)
        delay = generator.uniform(0.1, 0.5) * longest
        process.join(delay if kills < KILLS else 600)
        cells = cells_of(process) if process.exitcode is None else []
        if process.exitcode is None:
            process.kill()
            # With its cells, or alone: those end by themselves.
            for cell in cells if attempt % 2 else []:
                cell.kill()
            process.join()
            kills += 1
        assert process.exitcode in (0, -signal.SIGKILL), (history, log.read_text())
        wait_until(lambda cells=cells: ended([cell for cell in cells if "_cells" in _command(cell)]), log, seconds=10)
        history.append((delay, "both" if attempt % 2 else "alone", [last_step(folder / run) for run in runs]))
        assert before.items() <= finished(folder).items(), history
        assert all(now >= then for now, then in zip(history[-1][2], steps, strict=True)), history
        if process.exitcode == 0:
            break
    assert kills > 0
    print(history)
    whole, killed = (json.loads((tmp_path / name / "comparison.json").read_text()) for name in ("whole", "killed"))
    for comparison in (whole, killed):
        for outcome in comparison["outcomes"]:
            for name in UNLIKE:
                del outcome[name]
    assert killed == whole, history


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""
