"""Tables on disk, and what is said of the model that was found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from knotwork_search import BudgetError, LatencyTable, LatencyVerdict, cached_table, measure_latency

from .timed_toy import FakeClock, TimedToy
from .toy import PER_LAYER

CPU = torch.device("cpu")
VERSIONS = {"torch": "1"}


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "knotwork" / "latency"


def ask(versions=VERSIONS) -> tuple[LatencyTable, list[str], TimedToy]:
    clock, said = FakeClock(), []
    toy = TimedToy(clock)
    return cached_table(toy, CPU, versions, said.append, clock=clock), said, toy


def test_a_table_is_built_once_and_read_again(cache: Path):
    built, said, toy = ask()
    assert toy.extracted
    assert "median error of predictions 0.0% on held-out architectures" in said[-1]
    read, said, toy = ask()
    assert toy.extracted == []
    assert len(said) == 1
    assert "as measured before" in said[0]
    assert read.as_dict() == built.as_dict()
    assert len(list(cache.iterdir())) == 1


def test_other_versions_threads_and_devices_have_tables_of_their_own(cache: Path, monkeypatch: pytest.MonkeyPatch):
    ask()
    assert ask({"torch": "2"})[2].extracted
    monkeypatch.setattr("knotwork_search.latency._cache.device_name", lambda device: "another processor")
    assert ask()[2].extracted
    assert len(list(cache.iterdir())) == 3


def falling(values: dict) -> dict:
    return {**values, "table": {**values["table"], "outside": [3.0, 2.0, 1.0]}}


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: "{}",
        lambda text: text.replace('"outside": [3.0', '"outside": [NaN'),
        lambda text: text.replace('"outside": [3.0', '"outside": [3.0, 3.0'),
        lambda text: json.dumps(falling(json.loads(text))),
    ],
    ids=["cut short", "a list", "empty", "not a number", "another shape", "falling"],
)
def test_a_damaged_file_is_built_anew(cache: Path, damage):
    built, _, _ = ask()
    (path,) = cache.iterdir()
    path.write_text(damage(path.read_text()))
    again, said, toy = ask()
    assert f"{path} is damaged and is built anew" in said[0]
    assert toy.extracted
    assert again.as_dict() == built.as_dict()
    assert ask()[2].extracted == []


def test_a_poor_table_is_warned_of(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("knotwork_search.latency._cache.WORST_ERROR", -0.01)
    _, said, _ = ask()
    assert said[-1].startswith("warning: that is over ")


def test_a_cache_that_cannot_be_written_is_done_without(cache: Path):
    cache.parent.write_text("a file where the folder should be")
    table, said, _ = ask()
    assert table.outside.tolist() == pytest.approx([3, 5, 7])
    assert said[-1].startswith("the latencies are not kept for the next search: ")


def test_a_found_model_is_timed_as_the_table_was():
    clock = FakeClock()
    toy = TimedToy(clock)
    found = PER_LAYER.architecture({"width": 4, "depth": 2, "ratio": [1, 3]})
    assert measure_latency(toy, found, CPU, clock=clock) == pytest.approx(1 + 4 + 4 + 12)


def test_a_verdict_within_the_budget():
    verdict = LatencyVerdict(predicted_ms=2.0, measured_ms=2.5, limit_ms=2.5, device="a processor", median_error=0.03)
    verdict.require_met()
    assert verdict.met
    assert str(verdict).startswith("latency: predicted 2 ms, measured 2.5 ms, budget 2.5 ms (a processor")
    assert verdict.as_dict()["median_error"] == 0.03


def test_a_miss_names_the_margin_and_what_to_try():
    verdict = LatencyVerdict(predicted_ms=2.4, measured_ms=3.0, limit_ms=2.5, device="a processor", median_error=None)
    assert not verdict.met
    with pytest.raises(BudgetError, match=r"takes 3 ms on a processor, 20\.0% over the budget of 2\.5 ms .*budget of 2 ms"):
        verdict.require_met()
