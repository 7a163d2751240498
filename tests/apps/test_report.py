"""apps/report rebuilds a run's page from its folder, lays several runs side by side, and refuses what is no run.

That a search's page comes again is in test_search_gpt.py, which has a finished run at hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Main


def in_progress(run: Path, *, seed: int = 0) -> Path:
    """A run that was killed while it wrote a line."""
    run.mkdir()
    (run / "config.yaml").write_text(f"strategy: drnas\nseed: {seed}\nmax_steps: 9\n")
    lines = [json.dumps({"step": step, "split": "weight", "loss": 5.0 - step, "flops": 1e9 * step}) for step in range(3)]
    (run / "metrics.jsonl").write_text("\n".join([*lines, '{"step": 3, "spl']))
    return run


def test_a_run_in_progress(report_app: Main, tmp_path: Path):
    run = in_progress(tmp_path / "run")
    assert report_app([str(run)]) == 0
    page = (run / "report.html").read_text()
    assert "This run is in progress" in page
    assert "up to step 2 of 9" in page


def test_a_page_elsewhere(report_app: Main, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run, page = in_progress(tmp_path / "run"), tmp_path / "page.html"
    assert report_app([str(run), "--output", str(page)]) == 0
    assert capsys.readouterr().out == f"{page}\n"
    assert page.exists()
    assert not (run / "report.html").exists()


@pytest.mark.parametrize("output", [None, "both.html"])
def test_several_runs(report_app: Main, tmp_path: Path, capsys: pytest.CaptureFixture[str], output: str | None):
    runs = [in_progress(tmp_path / "first", seed=11), in_progress(tmp_path / "second", seed=22)]
    page = tmp_path / (output or "side-by-side.html")
    assert report_app([*map(str, runs), *(["--output", str(page)] if output else [])]) == 0
    assert capsys.readouterr().out == f"{page}\n"
    text = page.read_text()
    for expected in (">first<", ">second<", ">11<", ">22<", "2 of 9", "Loss of the weight steps, over FLOPs"):
        assert expected in text
    assert not any((run / "report.html").exists() for run in runs)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "required"),
        (["nowhere"], "nowhere is not a folder"),
        (["."], "holds none of config.yaml, metrics.jsonl, architecture.json"),
        (["run", "nowhere"], "nowhere is not a folder"),
        (["run", "run"], "run is given twice"),
        (["run", "--output", "run/config.yaml"], "does not end in .html"),
        (["run", "broken"], "architecture.json cannot be read"),
    ],
)
def test_bad_input_is_one_line(
    report_app: Main,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    expected: str,
):
    in_progress(tmp_path / "run")
    (in_progress(tmp_path / "broken") / "architecture.json").write_text("{")
    monkeypatch.chdir(tmp_path)
    assert report_app(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("report: error: ")
    assert expected in error
    assert error.count("\n") == 1
    assert not list(tmp_path.rglob("*.html"))
