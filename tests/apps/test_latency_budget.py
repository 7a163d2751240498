"""--max-latency-ms end to end, by a clock that gives a millisecond to every block and two to the rest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from knotwork_search.latency import time_architectures

from .conftest import Main


class TickingClock:
    """A millisecond passes with every mark: a model of depth d takes d + 2."""

    pace = 1.0

    def __init__(self) -> None:
        self.now = 0.0

    def mark(self) -> float:
        self.now += self.pace
        return self.now

    def gaps(self, marks: Sequence[float]) -> list[float]:
        return [later - earlier for earlier, later in pairwise(marks)]


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> type[TickingClock]:
    class Clock(TickingClock):
        pass

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("knotwork_search.latency._timing.clock_of", lambda device: Clock())
    monkeypatch.setattr("knotwork_search.latency._timing.VISIT_MS", 0.0)
    monkeypatch.setitem(time_architectures.__kwdefaults__, "rounds", 1)
    monkeypatch.setattr("knotwork_search.latency._verdict.ROUNDS", 1)
    return Clock


def test_a_budget_that_is_met_and_one_that_the_measured_model_misses(
    search_gpt: Main, tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], clock: type[TickingClock]
):
    met, missed = tmp_path / "met", tmp_path / "missed"
    flags = [*tiny, "--max-latency-ms", "3.5"]
    assert search_gpt([*flags, "--max-flops", "1e9", "--output-dir", str(met)]) == 0
    said = capsys.readouterr()
    assert "latency: predicted 3 ms, measured 3 ms, budget 3.5 ms" in said.out
    assert "median error of predictions 0.0% on held-out architectures" in said.err
    outcome = json.loads((met / "architecture.json").read_text())
    assert outcome["architecture"]["depth"] == 1
    assert outcome["budget"] == {"flops": 1e9, "latency_ms": 3.5}
    assert outcome["cost"]["latency_ms"] == pytest.approx(3)
    assert {name: outcome["latency"][name] for name in ("predicted_ms", "measured_ms")} == pytest.approx(
        {"predicted_ms": 3, "measured_ms": 3}
    )
    assert yaml.safe_load((met / "config.yaml").read_text())["max_latency_ms"] == 3.5
    assert "3 / 3 ms" in (met / "report.html").read_text()

    clock.pace = 1.4  # the machine has slowed down since the table was measured
    assert search_gpt([*flags, "--output-dir", str(missed)]) == 1
    error = capsys.readouterr().err
    assert "as measured before" in error
    assert "takes 4.2 ms on " in error
    assert "20.0% over the budget of 3.5 ms (predicted: 3 ms). All is written. Search again with a budget of 2.5 ms" in error
    assert (missed / "model" / "config.json").exists()
    assert "over budget" in (missed / "report.html").read_text()


def test_an_impossible_budget_says_what_the_smallest_architecture_takes(
    search_gpt: Main, tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run = tmp_path / "run"
    assert search_gpt([*tiny, "--output-dir", str(run), "--max-latency-ms", "2.5"]) == 2
    assert "the budget of 2.5 latency_ms is below the smallest architecture, which has 3:" in capsys.readouterr().err
    assert not run.exists()
