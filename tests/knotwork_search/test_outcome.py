import io
import json
import math
import platform
from itertools import pairwise

import pytest
import torch
from knotwork_search import (
    Candidate,
    Ranked,
    SearchResult,
    SearchSettings,
    comparison,
    comparison_table,
    costs,
    evaluate,
    fixed_batches,
    outcome_record,
    uniform_mixture,
)
from knotwork_search._optimisers import architecture_optimiser, cosine, weight_optimiser
from knotwork_search._outcome import versions
from rich.console import Console

from .toy import PER_LAYER, Toy, numbered

FOUND = PER_LAYER.architecture({"width": 4, "depth": 2, "ratio": [1, 3]})


@pytest.fixture
def rows(accelerator):
    validation = fixed_batches(numbered(12), 4, 3, torch.device("cpu"))
    return comparison(Toy(), FOUND, validation, accelerator, lambda metrics: {**metrics, "twice": 2 * metrics["loss"]})


def test_comparison_is_of_the_found_the_largest_and_the_smallest(accelerator, rows):
    toy = Toy()
    validation = fixed_batches(numbered(12), 4, 3, torch.device("cpu"))
    assert [row["name"] for row in rows] == ["found", "largest", "smallest"]
    for row, architecture in zip(rows, (FOUND, PER_LAYER.largest, PER_LAYER.smallest), strict=True):
        assert row["architecture"] == architecture.as_dict()
        assert row["cost"] == costs(toy, architecture)
        assert row["metrics"]["loss"] == evaluate(toy, validation, architecture, accelerator)["loss"]
        assert row["metrics"]["twice"] == 2 * row["metrics"]["loss"]


def test_the_record_is_json_and_enough_to_read_it(rows):
    ranked = [Ranked(Candidate(FOUND, -0.5, {"params": 9.0}), 1.5, 1.25), Ranked(Candidate(FOUND, -1.0, {"params": 9.0}), 2.0)]
    result = SearchResult(FOUND, ranked, uniform_mixture(PER_LAYER))
    settings = SearchSettings(limits={"params": 100}, seed=7)
    record = json.loads(json.dumps(outcome_record(PER_LAYER.as_dict(), result, settings, rows, ["torch", "no-such-package"])))
    assert record["architecture"] == FOUND.as_dict()
    assert record["cost"] == rows[0]["cost"]
    assert (record["budget"], record["strategy"], record["seed"]) == ({"params": 100}, "drnas", 7)
    assert [entry["finetuned_loss"] for entry in record["shortlist"]] == [1.25, None]
    assert record["shortlist"][0]["cost"] == {"params": 9.0}
    assert record["space"] == PER_LAYER.as_dict()
    assert record["probabilities"]["width"] == pytest.approx([1 / 3] * 3)
    assert set(record["versions"]) == {"python", "torch"}


def test_versions_leave_out_what_is_not_installed():
    assert versions(["no-such-package"]) == {"python": platform.python_version()}


def test_the_table_shows_costs_and_metrics(rows):
    shown = io.StringIO()
    Console(file=shown, width=120).print(comparison_table(rows, {"params": "parameters", "loss": "loss"}))
    text = shown.getvalue()
    assert f"{rows[1]['cost']['params']:,.0f}" in text
    assert f"{rows[0]['metrics']['loss']:.4f}" in text
    assert all(name in text for name in ("found", "largest", "smallest", "parameters"))


def test_the_learning_rate_rises_and_falls_to_its_floor():
    factors = [cosine(step, 100, 10) for step in range(101)]
    assert factors[:10] == pytest.approx([0.1 * step for step in range(1, 11)])
    assert factors[10] == 1
    assert factors[55] == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 2)) / 2)
    assert factors[100] == pytest.approx(0.1)
    assert all(before >= after for before, after in pairwise(factors[10:]))


def test_only_matrices_are_decayed():
    optimiser = weight_optimiser(Toy().named_parameters(), 1e-3, 0.1, torch.device("cpu"))
    decay = {parameter.dim(): group["weight_decay"] for group in optimiser.param_groups for parameter in group["params"]}
    assert decay == {2: 0.1, 1: 0.0}


def test_alphas_have_the_papers_optimiser():
    group = architecture_optimiser([torch.zeros(2, requires_grad=True)], 3e-4).param_groups[0]
    assert (group["lr"], group["betas"], group["weight_decay"]) == (3e-4, (0.5, 0.999), 1e-3)
