"""A comparison from a command line to its table, small enough for seconds; and what is wrong with one."""

import json
import os
import signal
import sys
import time
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from knotwork_ops import Choice, SearchSpace
from knotwork_search import RunInterrupted
from knotwork_tasks.compare import CompareFlags, _cells, _processes, kendall_tau, mean_and_error, parse_compare_flags
from knotwork_tasks.compare._compare import benchmark, curve, digest
from knotwork_tasks.compare._folder import CompareFolder
from knotwork_tasks.compare._plan import search_arguments
from knotwork_tasks.compare._processes import CellProcesses

from .conftest import Main, load_app


@pytest.fixture(scope="module")
def compare_app() -> Main:
    return load_app("compare")


def flags_of(*given: str) -> CompareFlags:
    return parse_compare_flags("compare", "", ["--output-dir", "somewhere", *given])


def compute_here(_: CellProcesses, cells: list[dict[str, Any]]) -> tuple[int, str]:
    """A process' cells without the time that a fresh Python takes; ``test_kill_compare`` starts some."""
    for cell in cells:
        _cells.write(cell, _cells.CELLS[cell["kind"]](cell))
    return 0, ""


def run_record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "out/drnas-0/architecture.json").read_text())


def test_a_comparison_resumes_and_prints_a_row_for_each_strategy(
    compare_app,
    space_file: Path,
    text_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(CellProcesses, "compute", compute_here)
    search = f"{{dataset: {text_file}, evaluations: 3, candidates: 2, finetune_steps: 0}}"
    given = ["--output-dir", str(tmp_path / "out"), "--space", str(space_file), "--strategies", "drnas,random", "--seeds", "1"]
    given += ["--retrain-steps", "2", "--ranked", "3", "--processes", "1", "--search", search]
    assert compare_app(given) == 0
    first = capsys.readouterr().out
    record = json.loads((tmp_path / "out/comparison.json").read_text())
    assert [outcome["strategy"] for outcome in record["outcomes"]] == ["drnas", "random"]
    searched, drawn = record["outcomes"]
    assert searched["flops"] == pytest.approx(record["compute"], rel=0.5)
    assert searched["curve"]
    assert searched["memory"] > searched["params"] > 0
    assert len(searched["ranks"]) == 3
    assert drawn["inherited"] is None
    assert record["budget"]["params"] >= max(searched["params"], drawn["params"])
    # Every figure is what its own cell says.
    cells = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "out/cells").iterdir()}
    assert searched["inherited"] == run_record(tmp_path)["comparison"][0]["metrics"]["loss"]
    assert searched["architecture"] == run_record(tmp_path)["architecture"]
    assert searched["ranks"] == cells["inherit-drnas-0"]["losses"]
    trained = {name: cell["loss"] for name, cell in cells.items() if name.startswith("train-")}
    nets = [*record["outcomes"], *record["ranked"]]
    assert {net["alone"] for net in nets} == set(trained.values())
    for net in nets:
        assert trained[f"train-{digest(net['architecture'])}-0"] == net["alone"]
    assert searched["tau"] == kendall_tau(searched["ranks"], [net["alone"] for net in record["ranked"]])
    assert (tmp_path / "out/comparison.svg").read_text().startswith("<?xml")
    # Again, without a cell to run.
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/cells").iterdir()}
    assert compare_app(given) == 0
    again = capsys.readouterr().out
    assert "done:" not in again
    assert again.splitlines()[-2:] == first.splitlines()[-2:]
    assert stamps == {path: path.stat().st_mtime_ns for path in (tmp_path / "out/cells").iterdir()}
    assert compare_app([*given, "--retrain-steps", "3"]) == 2
    assert "holds a comparison with retrain_steps 2, not 3" in capsys.readouterr().err


def test_a_curve_of_regrets_follows_the_benchmark(tmp_path: Path):
    space = SearchSpace((Choice("edge", ("small", "large")),))
    small, large = (space.architecture({"edge": edge}) for edge in ("small", "large"))
    metrics = tmp_path / "metrics.jsonl"
    records = [(small, 10, 3.0), (large, 20, 2.0)]
    lines = [{"step": 0, "split": "incumbent", "architecture": a.as_dict(), "flops": f, "loss": loss} for a, f, loss in records]
    metrics.write_text("".join(json.dumps(line) + "\n" for line in [{"step": 0, "split": "weight"}, *lines]))
    assert curve(metrics, space, None) == [(10, 3.0), (20, 2.0)]
    assert curve(metrics, space, {(small, 0): 9.5, (large, 0): 8.0}) == [(10, 1.5), (20, 0.0)]


def test_a_benchmark_of_another_space_is_refused():
    with pytest.raises(ValueError, match="results of the toy-cell space, not of one of the family gpt2"):
        benchmark("results.csv", "gpt2")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--strategies", "drnas,annealing"], "unknown strategy 'annealing'"),
        (["--strategies", ","], "no strategies are named"),
        (["--seeds", "0"], "--seeds is 0: it must be at least 1"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_flags_that_make_no_comparison_are_refused(given: list[str], message: str):
    with pytest.raises(ValueError, match=message):
        flags_of(*given)


def test_random_alone_is_no_comparison(compare_app, tmp_path, capsys):
    assert compare_app(["--output-dir", str(tmp_path / "out"), "--strategies", "random"]) == 2
    assert "names random alone" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("")
    with pytest.raises(ValueError, match="holds no comparison"):
        CompareFolder(tmp_path, {})
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_folder_that_a_kill_left_empty_is_taken(tmp_path):
    (tmp_path / ".settings.json.partial").write_text("{")
    CompareFolder(tmp_path, {"seed": 1})
    assert json.loads((tmp_path / "settings.json").read_text()) == {"seed": 1}


@pytest.mark.slow
def test_a_failing_cell_tells_why(tmp_path):
    folder = CompareFolder(tmp_path / "out", {})
    cell: dict[str, Any] = {"kind": "train", "result": str(tmp_path / "out/cells/one.json"), "run": str(tmp_path / "no-run")}
    with pytest.raises(ValueError, match=r"the cell one failed: compare: error: .*No such file"):
        folder.run([cell | {"architecture": {}, "seed": 0, "steps": 1}], 1, lambda text: None)


@pytest.mark.parametrize(("number", "reason"), [(signal.SIGTERM, "terminated"), (signal.SIGINT, "interrupted")])
def test_what_stops_a_comparison_stops_its_cells(tmp_path, monkeypatch, number: int, reason: str):
    script = """
import json, signal, sys
from pathlib import Path
result = json.loads(sys.argv[1])[0]["result"]
def save(*_):
    Path(result).with_suffix(".saved").write_text("")
    sys.exit(143)
signal.signal(signal.SIGTERM, save)
Path(result).with_suffix(".begun").write_text("")
signal.pause()
"""
    monkeypatch.setattr(_processes, "COMMAND", (sys.executable, "-c", script))
    cells: list[dict[str, Any]] = [{"kind": "search", "result": str(tmp_path / f"cell-{i}.json")} for i in range(4)]

    def interrupt() -> None:
        while len(list(tmp_path.glob("*.begun"))) < 2:
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    Thread(target=interrupt).start()
    said: list[str] = []
    folder = CompareFolder(tmp_path / "out", {})
    with pytest.raises(RunInterrupted, match=f"{reason}: the same command goes on where it was"):
        folder.run(cells, 2, said.append)
    # Those that ran have saved; the others were not begun.
    assert len(list(tmp_path.glob("*.begun"))) == len(list(tmp_path.glob("*.saved"))) == 2
    assert len(said) == 1
    assert "stopping" in said[0]


def test_a_search_gets_its_flags():
    flags = flags_of("--max-params", "none", "--max-flops", "2000", "--search", "{max_steps: 9, compile: true, batch_size: 4}")
    arguments = search_arguments(flags, "gdas", 1, 40, "run")
    pairs = dict(zip(arguments, [*arguments[1:], ""], strict=True))
    assert pairs["--max-steps"] == "40"
    assert pairs["--incumbent-every"] == "1"
    assert pairs["--max-flops"] == "2000.0"
    assert pairs["--strategy"] == "gdas"
    assert "--compile" in arguments
    assert "True" not in arguments
    assert pairs["--batch-size"] == "4"


def test_statistics():
    assert mean_and_error([1.0, 2.0, 3.0]) == pytest.approx((2.0, 1 / 3**0.5))
    assert mean_and_error([5.0]) == (5.0, 0.0)
    assert kendall_tau([1, 2, 3], [10, 20, 30]) == 1
    assert kendall_tau([1, 2, 3], [30, 20, 10]) == -1
    assert kendall_tau([1, 2, 3], [10, 30, 20]) == pytest.approx(1 / 3)
    assert kendall_tau([1, 1], [1, 2]) == 0
