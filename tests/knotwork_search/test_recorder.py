import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from knotwork_search import Recorder
from rich.console import Console


def recorder(path: Path | None, accelerator: Accelerator, console: Console | None = None, **options: Any) -> Recorder:
    return Recorder(path, 100, accelerator, console=console or Console(file=io.StringIO()), **options)


def strict(text: str) -> Any:
    """Parse JSON and refuse NaN and Infinity, which Python's parser would let through."""

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is not JSON")

    return json.loads(text, parse_constant=refuse)


def lines(path: Path) -> list[dict[str, Any]]:
    return [strict(line) for line in path.read_text().splitlines()]


def test_every_record_is_a_line_of_json(accelerator, tmp_path):
    path = tmp_path / "metrics.jsonl"
    with recorder(path, accelerator, unit="tokens", units_per_step=64) as notes:
        for step in range(25):
            cost = {"params": torch.tensor(1234.0 + step)}
            notes.record(step, "architecture", {"loss": torch.tensor(2.5), "expected_cost": cost, "weights": torch.ones(2, 2)})
            notes.record(step, "weight", {"loss": torch.tensor(1.5), "learning_rate": 0.1})
    found = lines(path)
    assert [(line["step"], line["split"]) for line in found] == [(i // 2, ("architecture", "weight")[i % 2]) for i in range(50)]
    assert found[0]["loss"] == 2.5
    assert found[0]["expected_cost"] == {"params": 1234.0}
    assert found[0]["weights"] == [[1.0, 1.0], [1.0, 1.0]]
    assert found[1]["learning_rate"] == 0.1
    assert all("tokens_per_second" in line for line in found if line["split"] == "weight")
    assert all("time" not in line for line in found)


def test_what_is_not_finite_becomes_null(accelerator, tmp_path):
    path = tmp_path / "metrics.jsonl"
    notes = recorder(path, accelerator)
    values = {"loss": torch.tensor(torch.nan), "list": [1.0, float("inf")], "nested": {"a": float("-inf")}}
    notes.record(0, "weight", values)
    notes.flush()
    line = lines(path)[0]
    assert (line["loss"], line["list"], line["nested"]) == (None, [1.0, None], {"a": None})


def test_records_are_written_at_the_latest_when_the_run_ends_or_fails(accelerator, tmp_path):
    path = tmp_path / "metrics.jsonl"

    def interrupted() -> None:
        with recorder(path, accelerator) as notes:
            notes.record(0, "weight", {"loss": 1.0})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [line["step"] for line in lines(path)] == [0]


def test_resuming_drops_what_came_after_and_what_was_cut(accelerator, tmp_path):
    path = tmp_path / "metrics.jsonl"
    with recorder(path, accelerator) as notes:
        for step in range(8):
            notes.record(step, "weight", {"loss": 1.0})
    with path.open("a") as file:
        file.write('{"step": 3, "split": "wei')
    again = recorder(path, accelerator)
    again.resume_at(5)
    assert [line["step"] for line in lines(path)] == [0, 1, 2, 3, 4]
    again.record(5, "weight", {"loss": 2.0})
    again.flush()
    assert [line["step"] for line in lines(path)] == [0, 1, 2, 3, 4, 5]


def test_resuming_without_a_file_makes_none(accelerator, tmp_path):
    recorder(tmp_path / "metrics.jsonl", accelerator).resume_at(3)
    recorder(None, accelerator).resume_at(3)
    assert not list(tmp_path.iterdir())


def test_without_a_path_nothing_is_written(accelerator, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with recorder(None, accelerator) as notes:
        for step in range(30):
            notes.record(step, "weight", {"loss": 1.0})
    assert not list(tmp_path.iterdir())


def test_untimed_records_are_the_same_each_time(accelerator, tmp_path):
    for name in ("one", "two"):
        with recorder(tmp_path / name, accelerator, unit="tokens", timed=False) as notes:
            for step in range(3):
                notes.record(step, "weight", {"loss": 1.0})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert lines(tmp_path / "one")[1] == {"step": 1, "split": "weight", "loss": 1.0}


def test_plain_lines_tell_the_time_left(accelerator, monkeypatch):
    moment = 0.0
    monkeypatch.setattr("time.monotonic", lambda: moment)
    shown = io.StringIO()
    with recorder(None, accelerator, Console(file=shown, width=200)) as notes:
        for step in range(60):
            notes.record(step, "weight", {"loss": 1.0})
            moment += 3.0
    # 40 of 100 steps are left, at 3 seconds each.
    assert shown.getvalue().splitlines()[-1].endswith("0:02:00 left")


def test_without_a_terminal_progress_is_plain_lines(accelerator):
    shown = io.StringIO()
    with recorder(None, accelerator, Console(file=shown, width=200), unit="tokens") as notes:
        notes.likeliest("width 4, depth [2]")
        notes.record(0, "architecture", {"loss": 3.0, "expected_cost": {"params": 12345.0}})
        for step in range(100):
            notes.record(step, "weight", {"loss": 2.0})
        notes.flush()
        notes.message("all [bold]done[/bold]")
    text = shown.getvalue()
    assert "\x1b" not in text
    assert "\r" not in text
    last = [line for line in text.splitlines() if line.startswith("step ")][-1]
    assert last.startswith("step 100/100")
    assert "loss 2.000" in last
    assert "12,345" in last
    assert "likeliest: width 4, depth [2]" in last
    assert text.rstrip().splitlines()[-1] == "all [bold]done[/bold]"
    assert len(text.splitlines()) < 10  # and not one at every step


def test_a_terminal_gets_a_bar(accelerator):
    shown = io.StringIO()
    with recorder(None, accelerator, Console(file=shown, width=200, force_terminal=True)) as notes:
        for step in range(30):
            notes.record(step, "weight", {"loss": 2.0})
    assert "30/100" in shown.getvalue()
    assert "\nstep " not in shown.getvalue()


def test_what_comes_after_the_last_step_is_no_further_step(accelerator, tmp_path):
    shown = io.StringIO()
    notes = Recorder(tmp_path / "metrics.jsonl", 2, accelerator, console=Console(file=shown))
    notes.record(1, "weight", {"loss": 1.0})
    notes.flush()
    notes.record(2, "validation", {"loss": 1.0})
    notes.flush()
    assert shown.getvalue().count("step 2/2") == 1
    assert "step 3/2" not in shown.getvalue()
