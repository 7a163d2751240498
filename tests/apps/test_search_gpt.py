"""The app end to end, on a text and a space of seconds."""

from __future__ import annotations

import json
import math
import shutil
from functools import partial
from pathlib import Path

import pytest
import yaml
from knotwork_search import Search, SearchSettings
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from .conftest import Main


def test_a_run_leaves_the_whole_folder(finished: Path):
    names = {path.name for path in finished.iterdir()}
    expected = {
        "config.yaml",
        "space.json",
        "metrics.jsonl",
        "checkpoints",
        "architecture.json",
        "model",
        "report.html",
        "front.csv",
        "tokenizer",
    }
    assert names == expected
    records = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert {record["split"] for record in records} == {"weight", "architecture", "validation"}
    assert [r["step"] for r in records if r["split"] == "weight"] == list(range(6))
    assert (finished / "report.html").stat().st_size < 5_000_000
    outcome = json.loads((finished / "architecture.json").read_text())
    found = outcome["comparison"][0]
    assert found["architecture"] == outcome["architecture"]
    assert found["metrics"]["bits_per_byte"] < found["metrics"]["loss"] / math.log(2)
    assert len(outcome["samples"]) == 3


def test_the_page_is_rebuilt_from_the_folder_as_the_search_wrote_it(
    report_app: Main, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run = tmp_path / finished.name
    run.mkdir()
    for name in ("config.yaml", "metrics.jsonl", "architecture.json"):
        shutil.copy(finished / name, run)
    assert report_app([str(run)]) == 0
    assert capsys.readouterr().out == f"{run / 'report.html'}\n"
    assert (run / "report.html").read_bytes() == (finished / "report.html").read_bytes()


def test_the_model_is_loaded_by_transformers(finished: Path):
    model = AutoModelForCausalLM.from_pretrained(finished / "model", trust_remote_code=True)
    tokenizer = AutoTokenizer.from_pretrained(finished / "model")
    outcome = json.loads((finished / "architecture.json").read_text())
    assert sum(p.numel() for p in model.parameters()) == outcome["cost"]["params"]
    assert tokenizer.decode(tokenizer("the cat")["input_ids"]) == "the cat"


@pytest.mark.parametrize("strategy", [pytest.param("darts-2nd", marks=pytest.mark.slow), "spos-re"])
def test_strategies_of_both_kinds_meet_and_use_a_budget(search_gpt: Main, tiny: list[str], tmp_path: Path, strategy: str):
    run = tmp_path / "run"
    assert search_gpt([*tiny, "--output-dir", str(run), "--strategy", strategy, "--evaluations", "8"]) == 0
    outcome = json.loads((run / "architecture.json").read_text())
    assert 0.85 * outcome["budget"]["params"] <= outcome["cost"]["params"] <= outcome["budget"]["params"]
    assert outcome["strategy"] == strategy


@pytest.mark.slow
def test_budgets_of_flops_and_of_both_are_met(search_gpt: Main, tiny: list[str], finished: Path, tmp_path: Path):
    rows = json.loads((finished / "architecture.json").read_text())["comparison"]
    edges = {row["name"]: row["cost"] for row in rows}
    limits = {name: (edges["smallest"][name] + edges["largest"][name]) / 2 for name in ("flops", "params")}
    for names in (["flops"], ["flops", "params"]):
        run, given = tmp_path / "-".join(names), {name: limits[name] for name in names}
        flags = [text for name, limit in given.items() for text in (f"--max-{name}", str(limit))]
        assert search_gpt([*tiny, "--output-dir", str(run), *flags]) == 0
        outcome = json.loads((run / "architecture.json").read_text())
        assert outcome["budget"] == given
        shares = [outcome["cost"][name] / limit for name, limit in given.items()]
        assert 0.85 <= max(shares) <= 1


@pytest.mark.slow
def test_options_of_the_strategy_are_kept(search_gpt: Main, tiny: list[str], tmp_path: Path):
    flags = ["--output-dir", str(tmp_path / "run"), "--strategy", "gdas", "--strategy-options", "{tau_end: 1}"]
    assert search_gpt([*tiny, *flags]) == 0
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["strategy_options"] == {"tau_end": 1.0}


def test_a_config_repeats_a_run(search_gpt: Main, tiny: list[str], tmp_path: Path):
    first, second = tmp_path / "first", tmp_path / "second"
    assert search_gpt([*tiny, "--output-dir", str(first), "--seed", "3"]) == 0
    assert search_gpt(["--config", str(first / "config.yaml"), "--output-dir", str(second)]) == 0
    assert (first / "config.yaml").read_text() == (second / "config.yaml").read_text()
    one, two = (json.loads((run / "architecture.json").read_text()) for run in (first, second))
    assert one == two


def test_a_resumed_run_ends_as_if_it_had_not_been_stopped(search_gpt: Main, tiny: list[str], tmp_path: Path, monkeypatch):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    flags = [*tiny, "--max-steps", "4"]
    assert search_gpt([*flags, "--output-dir", str(whole)]) == 0
    settings = partial(SearchSettings, checkpoint_every=2)
    monkeypatch.setattr("knotwork_tasks._search.SearchSettings", settings)
    monkeypatch.setattr(Search, "choose", _interrupted)
    assert search_gpt([*flags, "--output-dir", str(stopped)]) == 130
    monkeypatch.undo()
    _drop_newest(stopped / "checkpoints")
    assert search_gpt(["--output-dir", str(stopped), "--resume"]) == 0
    name = "checkpoints/step-00000004/tensors.safetensors"
    one, two = load_file(whole / name), load_file(stopped / name)
    assert all(one[key].equal(two[key]) for key in one.keys() | two.keys())
    steps = [json.loads(line)["step"] for line in (stopped / "metrics.jsonl").read_text().splitlines()]
    assert sorted(steps) == sorted(json.loads(line)["step"] for line in (whole / "metrics.jsonl").read_text().splitlines())


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def _drop_newest(checkpoints: Path) -> None:
    newest = max(checkpoints.iterdir())
    for file in newest.iterdir():
        file.unlink()
    newest.rmdir()


def test_a_run_keeps_all_settings_in_its_config(finished: Path):
    config = yaml.safe_load((finished / "config.yaml").read_text())
    assert config["granularity"] == "per-layer"
    assert config["max_params"] == "none"
    assert config["tokenizer"] == "train:260"
