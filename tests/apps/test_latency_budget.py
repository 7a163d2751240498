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
    defaults = time_architectures.__kwdefaults__ or {}
    monkeypatch.setattr(time_architectures, "__kwdefaults__", {**defaults, "rounds": 1})
    monkeypatch.setattr("knotwork_search.latency._verdict.ROUNDS", 1)
    return Clock


def test_an_impossible_budget_then_one_that_the_measured_model_misses(
    search_gpt: Main, tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], clock: type[TickingClock]
):
    # One search and no more: every search of an app costs CI many seconds.
    run = tmp_path / "run"
    flags = [*tiny, "--output-dir", str(run), "--max-flops", "1e9"]
    assert search_gpt([*flags, "--max-latency-ms", "2.5"]) == 2
    error = capsys.readouterr().err
    assert "median error of predictions 0.0% on held-out architectures" in error
    assert "the budget of 2.5 latency_ms is below the smallest architecture, which has 3:" in error
    assert not run.exists()

    clock.pace = 1.4  # the machine has slowed down since the table was measured
    assert search_gpt([*flags, "--max-latency-ms", "3.5"]) == 1
    said = capsys.readouterr()
    assert "as measured before" in said.err
    assert "latency: predicted 3 ms, measured 4.2 ms, budget 3.5 ms" in said.out
    assert "takes 4.2 ms on " in said.err
    assert "20.0% over the budget of 3.5 ms (predicted: 3 ms). All is written. Search again with a budget of 2.5 ms" in said.err
    outcome = json.loads((run / "architecture.json").read_text())
    assert outcome["architecture"]["depth"] == 1
    assert outcome["budget"] == {"flops": 1e9, "latency_ms": 3.5}
    assert outcome["cost"]["latency_ms"] == pytest.approx(3)
    assert outcome["latency"]["measured_ms"] == pytest.approx(4.2)
    assert yaml.safe_load((run / "config.yaml").read_text())["max_latency_ms"] == 3.5
    assert (run / "model" / "config.json").exists()
    report = (run / "report.html").read_text()
    assert "3 / 4.2 ms" in report
    assert "over budget" in report
