"""However a step's batch is split, over processes or into batches summed up, the search is the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from knotwork_search import STRATEGIES
from knotwork_search._sharding import SHARDS_ON_CPUS
from safetensors.torch import load_file

from .traced import STEPS, Trace, traced

OTHER_SECOND_STAGES = [name for name in STRATEGIES if name in ("spos-re", "spos-nsga2", "sandwich-rs", "sandwich-nsga2")]
TRAINED = [name for name in STRATEGIES if name not in OTHER_SECOND_STAGES]
"""Every way to train, spos and sandwich with one second stage each."""
ROOT = Path(__file__).parents[2]
TOLERANCE = 1e-8
"""Absolute. The runs are in float64: sums in another order differ by far less, and anything else by more."""

Begun = tuple[Path, list[subprocess.Popen[str]]]


@pytest.fixture(scope="module", params=[TRAINED, pytest.param(OTHER_SECOND_STAGES, marks=pytest.mark.slow)], ids="/".join)
def names(request: pytest.FixtureRequest) -> list[str]:
    return request.param


def sharded(names: list[str]) -> list[str]:
    """Strategies whose weights can be shared out: a mixture's, hard samples', and a teacher and its pupils."""
    return [name for name in names if SHARDS_ON_CPUS and name in ("drnas", "gdas", "sandwich-re")]


def start(rank: int, folder: Path, names: list[str]) -> subprocess.Popen[str]:
    # They meet at a file, so that the port is not used.
    processes = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 1}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **{name: str(value) for name, value in processes.items()}}
    command = [
        sys.executable,
        "-m",
        "tests.knotwork_search.rank",
        str(folder),
        *names,
        *(f"sharded {name}" for name in sharded(names)),
    ]
    return subprocess.Popen(command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.fixture(scope="module")
def begun(names: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Begun]:
    """Two processes at work, which go on while other tests run."""
    folder = tmp_path_factory.mktemp("processes")
    ranks = [start(rank, folder, names) for rank in (0, 1)]
    try:
        yield folder, ranks
    finally:
        for rank in ranks:
            rank.kill()
            rank.communicate()


@pytest.fixture(scope="module")
def whole(names: list[str], begun: Begun, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trace]:
    """What one process with the whole batch does, by strategy."""
    folder, accelerator = tmp_path_factory.mktemp("whole"), Accelerator(cpu=True)
    return {name: traced(name, accelerator, folder / name) for name in names}


@pytest.fixture(scope="module")
def ranks(begun: Begun) -> list[dict[str, Trace]]:
    """What each of two processes with half of the batch did, by strategy."""
    folder, processes = begun
    for process in processes:
        printed, _ = process.communicate(timeout=600)
        assert process.returncode == 0, printed[-2000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


def check_same(trace: Trace, wanted: Trace) -> None:
    assert sum(split == "weight" for _, split, _ in wanted["losses"]) == STEPS
    for (*at, loss), (*step, expected) in zip(trace["losses"], wanted["losses"], strict=True):
        assert at == step
        assert loss == pytest.approx(expected, rel=0, abs=TOLERANCE), f"the loss of step {step}"
    assert trace["tensors"].keys() == wanted["tensors"].keys()
    for name, values in wanted["tensors"].items():
        furthest = max(abs(a - b) for a, b in zip(flat(trace["tensors"][name]), flat(values), strict=True))
        assert furthest < TOLERANCE, name
    for (architecture, *losses), (same, *expected) in zip(trace["ranked"], wanted["ranked"], strict=True):
        assert architecture == same
        assert losses == pytest.approx(expected, rel=0, abs=TOLERANCE)


def flat(values: Any) -> list[float]:
    return [number for value in values for number in flat(value)] if isinstance(values, list) else [values]


def test_batches_summed_up_are_one(names: list[str], whole: dict[str, Trace], tmp_path: Path):
    for name in names:
        check_same(traced(name, Accelerator(cpu=True), tmp_path / name, accumulation=4), whole[name])


def test_two_processes_are_one_with_twice_the_batch(names: list[str], whole: dict[str, Trace], ranks: list[dict[str, Trace]]):
    for name in names:
        check_same(ranks[0][name], whole[name])


def test_two_processes_that_share_out_the_weights_are_one(
    names: list[str], begun: Begun, whole: dict[str, Trace], ranks: list[dict[str, Trace]]
):
    folder, _ = begun
    for name in sharded(names):
        check_same(ranks[0][f"sharded {name}"], whole[name])
        tensors, copied = (
            load_file(folder / "rank 0" / what / "checkpoints" / f"step-{STEPS:08d}" / "tensors.safetensors")
            for what in (f"sharded {name}", name)
        )
        assert tensors.keys() == copied.keys()
        for key, tensor in tensors.items():
            torch.testing.assert_close(tensor, copied[key], rtol=0, atol=TOLERANCE)


def test_a_search_with_sharded_weights_resumes_to_the_bit(names: list[str], ranks: list[dict[str, Trace]]):
    for name in sharded(names):
        never_stopped, resumed = (ranks[0][f"{how}sharded {name}"] for how in ("", "resumed "))
        assert resumed["losses"] == [entry for entry in never_stopped["losses"] if entry[0] >= STEPS // 2]
        assert resumed["tensors"] == never_stopped["tensors"]
        assert resumed["ranked"] == never_stopped["ranked"]


def test_processes_draw_the_same_and_end_the_same(names: list[str], ranks: list[dict[str, Trace]]):
    first, second = ranks
    for name in first:
        assert len(first[name]["runs"]) > STEPS / 2
        # Mixtures, architectures, losses, weights: to the last bit.
        for what, values in first[name].items():
            other = second[name][what]
            places = list(values) if isinstance(values, dict) else range(max(len(values), len(other)))
            assert [place for place in places if values[place] != other[place]] == [], (name, what)


def test_only_the_first_process_writes(names: list[str], begun: Begun, ranks: list[dict[str, Trace]]):
    folder, _ = begun
    assert {path.name for path in folder.iterdir()} - {"meeting"} == {"rank 0", "0.json", "1.json"}
    for name in names:
        written = {path.name for path in (folder / "rank 0" / name).iterdir()}
        assert {"checkpoints", "config.yaml", "metrics.jsonl", "space.json"} <= written
