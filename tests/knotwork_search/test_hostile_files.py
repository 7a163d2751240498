"""Whatever the files of a run hold, reading them gives settings, metrics, tables and tensors, or one clear error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from accelerate import Accelerator
from hypothesis import given
from hypothesis import strategies as st
from knotwork_search import LatencyTable, RunFolder, Search, cached_table, load_checkpoint
from knotwork_search._checkpoint import _digest
from knotwork_search.report import read_metrics, write_report

from ..hostile import cases, json_bytes, mutated, one_changed, refused_clearly, watched, write_all, yaml_bytes
from .report.conftest import CONFIG, metrics, outcome
from .test_loop import data, few_steps
from .timed_toy import FakeClock, TimedToy
from .toy import PER_LAYER, Toy

LINES = [json.dumps(record) for record in metrics(3)]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "inside" / "run"
    folder.mkdir(parents=True)
    return folder


def test_any_configuration_is_a_mapping_or_an_error_that_names_it(run: Path, tmp_path: Path):
    folder = RunFolder(run)

    @cases(200)
    @given(content=yaml_bytes(yaml.safe_load(CONFIG)))
    def read(content: bytes):
        folder.config.write_bytes(content)
        error = refused_clearly(folder.read_config)
        assert error is None or str(folder.config) in str(error)

    with watched(tmp_path):
        read()


@cases(150)
@given(line=json_bytes(json.loads(LINES[1])), last=st.booleans())
def test_any_line_of_metrics_is_a_record_or_an_error_that_names_it(tmp_path: Path, line: bytes, last: bool):
    file = tmp_path / "metrics.jsonl"
    file.write_bytes(
        LINES[0].encode() + b"\n" + line.replace(b"\n", b" ") + (b"" if last else b"\n" + LINES[2].encode() + b"\n")
    )
    error = refused_clearly(lambda: read_metrics(tmp_path))
    assert error is None or f"{file}, line 2" in str(error)


def test_any_run_has_a_report_or_an_error(run: Path, tmp_path: Path):
    whole = {
        "config.yaml": CONFIG.encode(),
        "metrics.jsonl": "\n".join(LINES).encode(),
        "architecture.json": json.dumps(outcome()).encode(),
    }

    @cases(15)
    @given(contents=one_changed(whole))
    def write(contents: dict[str, bytes]):
        write_all(run, contents)
        refused_clearly(lambda: write_report(run))

    with watched(tmp_path):
        write()


def test_any_cached_table_is_used_or_built_anew(tmp_path: Path):
    said: list[str] = []

    def ask() -> LatencyTable:
        clock = FakeClock()
        return cached_table(TimedToy(clock), torch.device("cpu"), {}, said.append, clock=clock)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path))
        built = ask()
        (file,) = (tmp_path / "knotwork" / "latency").iterdir()
        stored = json.loads(file.read_text())

        @cases(40)
        @given(content=json_bytes(stored) | json_bytes({"table": stored["table"]}))
        def read(content: bytes):
            file.write_bytes(content)
            found = ask()
            assert {*found.as_dict()} == {*built.as_dict()}

        read()


@cases(150)
@given(values=mutated(LatencyTable(PER_LAYER, ("width",), (), torch.ones(3), torch.ones(3), 0.1).as_dict()))
def test_any_table_fits_its_space_or_is_refused(values: Any):
    refused_clearly(lambda: LatencyTable.from_dict(PER_LAYER, values))


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search with a checkpoint of its first steps."""
    run = tmp_path_factory.mktemp("searched") / "run"
    search = Search(
        Toy(), data(), few_steps("drnas", max_steps=4, checkpoint_every=4), accelerator=Accelerator(), run=RunFolder(run)
    )
    run.mkdir()
    search.train()
    return run


def test_any_checkpoint_is_resumed_or_refused(searched: Path, tmp_path: Path):
    (original,) = RunFolder(searched).checkpoints.iterdir()
    whole = {name: (original / name).read_bytes() for name in ("state.json", "tensors.safetensors")}
    folder = RunFolder(tmp_path / "inside")
    step = folder.checkpoints / original.name
    step.mkdir(parents=True)
    search = Search(Toy(), data(), few_steps("drnas", max_steps=8), accelerator=Accelerator(), run=folder)

    @cases(150)
    @given(contents=one_changed(whole))
    def resume(contents: dict[str, bytes]):
        write_all(step, contents)
        # Whoever damages tensors on purpose also writes the digest that fits them.
        if contents["tensors.safetensors"] != whole["tensors.safetensors"]:
            state = json.loads(whole["state.json"]) | {"digest": _digest(step / "tensors.safetensors")}
            (step / "state.json").write_text(json.dumps(state))
        refused_clearly(search.load)

    with watched(tmp_path):
        resume()


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "state.json has step None, which is no number of steps"),
        ({"step": -1}, "state.json has step -1"),
        (
            {"step": 1, "multipliers": {"params": "many"}},
            "state.json has multipliers, flops or skipped steps that are not numbers: .*many",
        ),
    ],
)
def test_a_state_that_cannot_be_is_refused(searched: Path, tmp_path: Path, state: dict, message: str):
    (original,) = RunFolder(searched).checkpoints.iterdir()
    step = tmp_path / "checkpoints" / original.name
    step.mkdir(parents=True)
    (step / "tensors.safetensors").write_bytes((original / "tensors.safetensors").read_bytes())
    (step / "state.json").write_text(json.dumps(state))
    with pytest.raises(ValueError, match=message):
        load_checkpoint(tmp_path / "checkpoints")
