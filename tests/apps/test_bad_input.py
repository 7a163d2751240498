"""Bad input gets one clear line and exit code 2, and leaves the run folder as it was."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from .conftest import Main

CASES = [
    (["--space", "gpt-giant"], "unknown space 'gpt-giant'"),
    (["--strategy", "magic"], "unknown strategy 'magic': known are ['drnas'"),
    (["--strategy-options", "{tau: 1}"], "the strategy 'drnas' has no option 'tau': it has ['distance', 'shrink']"),
    (["--max-flops", "10"], "the budget of 10 flops is below the smallest architecture, which has"),
    (["--max-latency-ms", "-1"], "the budget of latency_ms is -1"),
    (["--max-latency-ms", "fast"], "max_latency_ms"),
    (["--granularity", "sometimes"], "unknown granularity 'sometimes'"),
    (["--dataset", "nowhere/at/all.txt"], "nowhere/at/all.txt"),
    (["--dataset", "EMPTY"], "empty"),
    (["--max-params", "10"], "the budget of 10 params is below the smallest architecture, which has"),
    (["--block-size", "100000"], "block_size 100000"),
    (["--config", "MALFORMED"], "malformed.yaml cannot be read: "),
    (["--config", "UNKNOWN_KEY"], "max_stepz"),
    (["--space", "MALFORMED"], "malformed.yaml cannot be read: "),
    (["--space", "IMPOSSIBLE"], "embed_dim 9 is not divisible by num_heads 2"),
    (["--train-portion", "1.5"], "1.5"),
    (["--report-to", "wandb"], "--report-to wandb needs the package wandb, which is not installed"),
    (["--report-to", "carrier-pigeon"], "unknown report_to 'carrier-pigeon'"),
    (["--mixed-precision", "fp16"], "--mixed-precision fp16 needs a GPU"),
    (["--max-steps", "0"], "max_steps is 0"),
    (["--max-steps", "many"], "max_steps"),
    (["--tokenizer", "train:abc"], "train:abc"),
    (["--no-such-flag", "1"], "--no-such-flag"),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("bad")
    contents = {
        "EMPTY": ("empty.txt", ""),
        "MALFORMED": ("malformed.yaml", "family: [gpt2\nembed"),
        "UNKNOWN_KEY": ("unknown.yaml", "max_stepz: 3\n"),
        "IMPOSSIBLE": ("impossible.yaml", "{family: gpt2, embed_dim: [8, 9], depth: [1], num_heads: [1, 2], mlp_ratio: [1]}"),
    }
    for name, text in contents.values():
        (folder / name).write_text(text)
    return {key: str(folder / name) for key, (name, _) in contents.items()}


@pytest.mark.parametrize(("flags", "message"), CASES, ids=lambda value: "-".join(value)[:40] if isinstance(value, list) else "")
def test_bad_flags(
    search_gpt: Main, tiny: list[str], tmp_path: Path, files: dict[str, str], capsys, flags: list[str], message: str
):
    run = tmp_path / "run"
    code = search_gpt([*tiny, "--output-dir", str(run), *(files.get(flag, flag) for flag in flags)])
    error = capsys.readouterr().err
    assert code == 2
    assert error.startswith("search_gpt: error: ")
    assert message in error
    assert error.count("\n") == 1
    assert not run.exists()


def test_an_output_folder_that_holds_a_run(search_gpt: Main, tiny: list[str], finished: Path, capsys):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    assert search_gpt([*tiny, "--output-dir", str(finished)]) == 2
    assert "already holds a run: give --resume" in capsys.readouterr().err
    assert before == {path: path.stat().st_mtime_ns for path in finished.rglob("*")}


def test_resuming_where_there_is_no_run(search_gpt: Main, tmp_path: Path, capsys):
    assert search_gpt(["--output-dir", str(tmp_path / "none"), "--resume"]) == 2
    assert "holds no run to resume" in capsys.readouterr().err


def test_resuming_a_finished_run(search_gpt: Main, finished: Path, capsys):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    assert search_gpt(["--output-dir", str(finished), "--resume"]) == 0
    assert "is finished" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in finished.rglob("*")}


def test_an_output_folder_below_a_file(search_gpt: Main, tiny: list[str], text_file: Path, capsys):
    assert search_gpt([*tiny, "--output-dir", str(text_file / "run")]) == 2
    assert "Not a directory" in capsys.readouterr().err


def test_a_full_disk(search_gpt: Main, tiny: list[str], tmp_path: Path, capsys, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("knotwork_search._files.os.fsync", full)
    run = tmp_path / "run"
    assert search_gpt([*tiny, "--output-dir", str(run)]) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert [path.name for path in run.rglob("*")] == [".begun"]  # which a next start passes over
