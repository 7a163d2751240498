"""What is killed at any moment and resumed ends, bit for bit, as what never was."""

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

import pytest
import torch
from knotwork_search import load_checkpoint

from .processes import start

KILLS = 10
"""Of each of the runs below."""
COURSE = ["--checkpoint-every", "1", "--deterministic", "--evaluations", "6", "--max-steps", "16"]
RUNS = {
    "single stage": ["--strategy", "drnas", "--gradient-accumulation", "2"],
    "sliced, streamed": ["--strategy", "gdas", "--streaming"],
    # Per layer, for the uniform space has fewer architectures within the budget than are to be evaluated.
    "two stages": ["--strategy", "sandwich-re", "--granularity", "per-layer", "--incumbent-every", "1"],
}


@pytest.fixture
def flags(space_file: Path, tmp_path: Path) -> list[str]:
    text = tmp_path / "tales.jsonl"
    lines = [{"text": f"line {i}: the cat sat on mat number {i * 7 % 13}.\n" * 5} for i in range(200)]
    text.write_text("".join(json.dumps(line) + "\n" for line in lines))
    few = ["--candidates", "3", "--finetune-steps", "2"]
    return ["--space", str(space_file), "--dataset", str(text), *few, *COURSE]


def lines_of(run: Path) -> list[str]:
    metrics = run / "metrics.jsonl"
    return metrics.read_text().splitlines(keepends=True) if metrics.exists() else []


def ended(run: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any], str]:
    """The last checkpoint's tensors, what was found, and the weights' records."""
    tensors, _ = load_checkpoint(run / "checkpoints")
    outcome = json.loads((run / "architecture.json").read_text())
    found = {name: outcome[name] for name in ("architecture", "probabilities", "shortlist", "search_flops")}
    return tensors, found, "".join(lines_of(run))


def kill_at_random(app: str, flags: list[str], folder: Path, last: str, ended: Callable[[Path], Any]) -> None:
    """Kill runs of an app until there were ``KILLS``; each must end as one that was never killed.

    Args:
        app: its name.
        flags: all but the output folder.
        folder: for the runs.
        last: the file that a run writes at its end.
        ended: what is compared.
    """
    log, whole = folder / "log.txt", folder / "whole"
    start("export", ["--help"], log).join()  # the server is up after it
    begun = time.monotonic()
    process = start(app, [*flags, "--output-dir", str(whole)], log)
    process.join()
    assert process.exitcode == 0, log.read_text()
    longest, wanted = time.monotonic() - begun, ended(whole)
    generator, kills = random.Random(time.time_ns()), 0
    for number in count():
        if kills >= KILLS:
            break
        run = folder / f"killed-{number}"
        history: list[float] = []
        while not (run / last).exists():
            resumed = ["--resume"] if (run / "config.yaml").exists() else flags
            process = start(app, ["--output-dir", str(run), *resumed], log)
            delay = generator.uniform(0.1, 0.8 * longest)
            process.join(delay if kills < KILLS else 300)
            if process.exitcode is None:
                process.kill()
                process.join()
                kills += 1
                history.append(delay)
            assert process.exitcode in (0, -signal.SIGKILL), (history, log.read_text())
            assert all(isinstance(json.loads(line), dict) for line in lines_of(run)), history
        found = ended(run)
        assert found[0].keys() == wanted[0].keys()
        assert [key for key in wanted[0] if not torch.equal(found[0][key], wanted[0][key])] == [], history
        assert found[1:] == wanted[1:], history
        assert not (run / ".begun").exists()


@pytest.mark.parametrize("name", [*list(RUNS)[:2], pytest.param("two stages", marks=pytest.mark.slow)])
def test_killed_searches(flags: list[str], tmp_path: Path, name: str):
    kill_at_random("search_gpt", [*flags, *RUNS[name]], tmp_path, "report.html", ended)


@pytest.mark.slow
def test_killed_trainings(flags: list[str], tmp_path: Path):
    process = start("search_gpt", [*flags, "--output-dir", str(tmp_path / "run")], tmp_path / "log.txt")
    process.join()
    assert process.exitcode == 0, (tmp_path / "log.txt").read_text()
    course = ["--steps", "24", "--checkpoint-every", "1", "--deterministic"]

    def trained(run: Path) -> tuple[dict[str, torch.Tensor], str, bytes]:
        weights = (run / "model" / "model.safetensors").read_bytes()
        return load_checkpoint(run / "checkpoints")[0], "".join(lines_of(run)), weights

    model = ["--model", str(tmp_path / "run" / "model")]
    kill_at_random("train_gpt", [*model, *course], tmp_path, "training.json", trained)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_and_ends(flags: list[str], tmp_path: Path, number: int, code: int):
    log, run = tmp_path / "log.txt", tmp_path / "run"
    process = start(
        "search_gpt", [*flags, "--output-dir", str(run), "--max-steps", "100000", "--checkpoint-every", "100000"], log
    )
    while not (run / "metrics.jsonl").exists():
        time.sleep(0.05)
        assert process.exitcode is None, log.read_text()
    os.kill(process.pid, number)
    process.join(60)
    assert process.exitcode == code, log.read_text()
    _, state = load_checkpoint(run / "checkpoints")
    assert state["step"] > 0
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert max(record["step"] for record in records) == state["step"] - 1
    assert "--resume goes on from the newest checkpoint" in log.read_text()
    assert "Traceback" not in log.read_text()


def test_a_second_interrupt_ends_at_once(flags: list[str], tmp_path: Path):
    log, run = tmp_path / "log.txt", tmp_path / "run"
    # A step that takes longer than the test, so that the first interrupt is only noted.
    long = ["--max-steps", "100000", "--gradient-accumulation", "100000"]
    process = start("search_gpt", [*flags, "--output-dir", str(run), *long], log)
    while not (run / "config.yaml").exists():
        time.sleep(0.05)
        assert process.exitcode is None, log.read_text()
    time.sleep(0.5)
    os.kill(process.pid, signal.SIGINT)
    process.join(1)
    assert process.exitcode is None
    assert "interrupt again to end at once" in log.read_text()
    os.kill(process.pid, signal.SIGINT)
    process.join(5)
    assert process.exitcode == -signal.SIGINT


def test_the_time_is_over(flags: list[str], tmp_path: Path):
    log, run = tmp_path / "log.txt", tmp_path / "run"
    long = ["--max-steps", "100000", "--checkpoint-every", "100000", "--max-time", "4s"]
    begun = time.monotonic()
    process = start("search_gpt", [*flags, "--output-dir", str(run), *long], log)
    process.join(60)
    assert process.exitcode == 0, log.read_text()
    assert time.monotonic() - begun < 20  # a busy machine: the search itself would take an hour
    assert load_checkpoint(run / "checkpoints")[1]["step"] > 0
    assert "its time (--max-time) is over: --resume goes on" in log.read_text()
