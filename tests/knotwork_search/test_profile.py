"""Where the time of a search goes."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from knotwork_search import Search, SearchData, SearchSettings, StepProfile

from .toy import Toy, numbered


def search_of(steps: int, folder: Path, said: list[str], accelerator) -> Search:
    settings = SearchSettings(strategy="drnas", max_steps=steps, batch_size=4, fair_share=0.5, checkpoint_every=100)
    data = SearchData(weight=numbered(40), architecture=numbered(24, 1000))
    return Search(Toy(), data, settings, accelerator=accelerator, profile=StepProfile(folder, said.append))


def test_each_kind_of_step_is_traced_once(accelerator, tmp_path: Path):
    said: list[str] = []
    search_of(40, tmp_path, said, accelerator).train()
    assert [text.partition(":")[0] for text in said] == ["training", "search"]
    for kind, text in zip(("training", "search"), said, strict=True):
        trace = json.loads((tmp_path / f"profile-{kind}.json").read_text())
        assert trace["traceEvents"]
        first, *operations = text.splitlines()
        assert f"profile-{kind}.json" in first
        assert len(text.splitlines()) <= 10
        shares = [float(line.split("%")[0]) for line in operations]
        assert shares == sorted(shares, reverse=True)
        assert 0 < sum(shares) <= 100.5
        assert any("aten::" in line for line in operations)


def test_a_run_that_is_too_short_is_not_traced(accelerator, tmp_path: Path):
    said: list[str] = []
    search_of(8, tmp_path, said, accelerator).train()
    assert said == []
    assert list(tmp_path.iterdir()) == []
    assert not torch.autograd._profiler_enabled()  # type: ignore[attr-defined]
