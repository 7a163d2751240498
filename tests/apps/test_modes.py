"""Precision, compilation, trackers and processes of search_gpt."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from knotwork_search._sharding import SHARDS_ON_CPUS
from knotwork_spaces._compile import OLDEST
from torch.torch_version import TorchVersion

from .conftest import APPS, Main


def losses(run: Path) -> list[float]:
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [record["loss"] for record in records if record["split"] == "weight"]


@pytest.fixture(autouse=True)
def fresh_accelerate():
    """Accelerate keeps its first settings for the process's life, in the environment too; each test is to choose its own."""
    environment = dict(os.environ)
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    os.environ.clear()
    os.environ.update(environment)


@pytest.fixture(scope="module")
def plain(search_gpt: Main, tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("plain") / "run"
    assert search_gpt([*tiny, "--output-dir", str(run)]) == 0
    return run


@pytest.mark.parametrize("launcher", ["WORLD_SIZE", "OMPI_COMM_WORLD_SIZE"])
def test_processes_that_would_each_search_alone_are_refused(
    search_gpt: Main, tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, launcher
):
    monkeypatch.setenv(launcher, "2")
    assert search_gpt([*tiny, "--output-dir", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    # An older accelerate runs them together on CPUs unasked, and then asks where they are to meet.
    assert "on CPUs set ACCELERATE_USE_CPU=true" in said or "MASTER_ADDR" in said
    assert not (tmp_path / "run").exists()


def test_bf16_stays_close_to_float32(search_gpt: Main, tiny: list[str], plain: Path, tmp_path: Path):
    assert search_gpt([*tiny, "--output-dir", str(tmp_path / "run"), "--mixed-precision", "bf16"]) == 0
    assert losses(tmp_path / "run") == pytest.approx(losses(plain), abs=0.05)


@pytest.mark.slow
def test_tensorboard_is_told_what_the_metrics_hold(search_gpt: Main, tiny: list[str], tmp_path: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert search_gpt([*tiny, "--output-dir", str(tmp_path / "run"), "--report-to", "tensorboard"]) == 0
    events = EventAccumulator(str(tmp_path / "run" / "knotwork"))
    events.Reload()
    told = [scalar.value for scalar in events.Scalars("weight/loss")]
    assert told == pytest.approx(losses(tmp_path / "run"), rel=1e-5)


@pytest.mark.slow
def test_gradient_accumulation_doubles_the_batch(search_gpt: Main, tiny: list[str], tmp_path: Path):
    # The first loss is of the untrained net on the same blocks, in one batch or in two halves.
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    assert search_gpt([*tiny, "--output-dir", str(whole), "--batch-size", "8"]) == 0
    assert search_gpt([*tiny, "--output-dir", str(halves), "--gradient-accumulation", "2"]) == 0
    assert losses(halves)[:3] == pytest.approx(losses(whole)[:3], abs=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(TorchVersion(torch.__version__) < OLDEST, reason=f"compiling needs torch {OLDEST}")
def test_compiled(search_gpt: Main, tiny: list[str], tmp_path: Path):
    flags = [*tiny, "--max-steps", "2", "--finetune-steps", "0"]
    assert search_gpt([*flags, "--output-dir", str(tmp_path / "plain")]) == 0
    assert search_gpt([*flags, "--output-dir", str(tmp_path / "compiled"), "--compile"]) == 0
    assert losses(tmp_path / "compiled") == pytest.approx(losses(tmp_path / "plain"), abs=1e-3)


@pytest.mark.parametrize(
    "how",
    [
        [],
        pytest.param(
            ["--shard-weights"], marks=[pytest.mark.slow, pytest.mark.skipif(not SHARDS_ON_CPUS, reason="needs a newer torch")]
        ),
    ],
    ids=["copied", "sharded"],
)
def test_two_processes_are_one_with_twice_the_batch(search_gpt: Main, tiny: list[str], tmp_path: Path, how: list[str]):
    # At its default rate Adam moves the alphas of so short a run by whole units, and rounding errors with them.
    # Twelve steps, for after ten the processes ask each other whether one was told to stop.
    tiny = [*tiny, "--arch-learning-rate", "0.01", "--max-steps", "12"]
    one, two = tmp_path / "one", tmp_path / "two"
    assert search_gpt([*tiny, "--output-dir", str(one), "--batch-size", "8"]) == 0
    # accelerate's own launcher starts several CPU processes through mpirun alone; torchrun sets the same variables.
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", str(APPS / "search_gpt" / "__main__.py")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    command = [*launch, *tiny, *how, "--output-dir", str(two)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert finished.returncode == 0, finished.stderr[-2000:]
    assert losses(two) == pytest.approx(losses(one), abs=1e-4)
    ends = [json.loads((run / "architecture.json").read_text()) for run in (one, two)]
    for name, weights in ends[0]["probabilities"].items():
        assert ends[1]["probabilities"][name] == pytest.approx(weights, abs=1e-4)
    inherited = [[row["metrics"]["loss"] for row in end["comparison"]] for end in ends]
    assert inherited[1] == pytest.approx(inherited[0], abs=1e-4)
