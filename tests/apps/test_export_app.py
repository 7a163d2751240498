"""Exports of a run's supernet after the search."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from .conftest import Main


@pytest.mark.verified
def test_the_found_architecture_is_exported_again(export_app: Main, finished: Path, tmp_path: Path):
    assert export_app(["--run", str(finished), "--output-dir", str(tmp_path / "model")]) == 0
    first, again = finished / "model" / "model.safetensors", tmp_path / "model" / "model.safetensors"
    assert first.read_bytes() == again.read_bytes()


def test_any_other_architecture_of_the_run(export_app: Main, finished: Path, tmp_path: Path):
    wanted = {"embed_dim": 8, "depth": 1, "num_heads": [2], "mlp_ratio": [1]}
    (tmp_path / "architecture.json").write_text(json.dumps(wanted))
    flags = ["--architecture", str(tmp_path / "architecture.json"), "--output-dir", str(tmp_path / "model")]
    assert export_app(["--run", str(finished), *flags]) == 0
    config = AutoModelForCausalLM.from_pretrained(tmp_path / "model").config
    assert (config.n_embd, config.n_layer, config.n_head, config.n_inner) == (8, 1, 2, 8)


def test_a_point_of_the_front(export_app: Main, finished: Path, tmp_path: Path, capsys):
    front = list(csv.DictReader((finished / "front.csv").open(newline="")))
    assert len(front) > 1
    assert "The front" in (finished / "report.html").read_text()
    flags = ["--run", str(finished), "--output-dir", str(tmp_path / "model"), "--point"]
    assert export_app([*flags, "1"]) == 0
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model", trust_remote_code=True)
    assert model.num_parameters() == int(float(front[0]["params"]))
    assert model.config.n_embd == int(front[0]["embed_dim"])
    assert export_app([*flags, str(len(front) + 1)]) == 2
    assert f"has the points 1 to {len(front)}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            '{"embed_dim": 7, "depth": 1, "num_heads": [2], "mlp_ratio": [1]}',
            "choice 'embed_dim' cannot be 7: allowed are [8, 12, 16]",
        ),
        ("not json", "architecture.json cannot be read: JSONDecodeError"),
        ("[1]", "architecture.json is not a mapping of names to values, but [1]"),
    ],
)
def test_a_bad_architecture_file(export_app: Main, finished: Path, tmp_path: Path, capsys, content: str, message: str):
    (tmp_path / "architecture.json").write_text(content)
    flags = ["--architecture", str(tmp_path / "architecture.json"), "--output-dir", str(tmp_path / "model")]
    assert export_app(["--run", str(finished), *flags]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "model").exists()


def test_a_folder_that_is_no_run(export_app: Main, tmp_path: Path, capsys):
    assert export_app(["--run", str(tmp_path), "--output-dir", str(tmp_path / "model")]) == 2
    assert "holds no run" in capsys.readouterr().err
