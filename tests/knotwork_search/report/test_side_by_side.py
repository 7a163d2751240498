"""The page of several runs as a reader's browser gets it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from knotwork_search.report import write_report, write_side_by_side
from knotwork_search.report._overlay import over_flops, over_steps, stroke
from knotwork_search.report._run import read_run

from .conftest import CONFIG, MakeRun, outcome
from .test_page import Page, assert_self_contained


def page_of(*runs: Path) -> Page:
    page = Page(write_side_by_side(runs, runs[0].parent / "page.html"))
    assert_self_contained(page)
    return page


def row(page: Page, name: str) -> list[str]:
    """The cells of the table's row that begins with `name`."""
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", line) for line in re.findall(r"<tr[^>]*>(.*?)</tr>", page.source)]
    (cells,) = [cells for cells in rows if cells and cells[0] == name]
    return cells[1:]


def test_two_runs(make_run: MakeRun):
    first = make_run(outcome=outcome() | {"search_flops": 2.5e12}, name="first")
    other = outcome() | {"architecture": {"embed_dim": 64, "depth": 2, "num_heads": [4, 8], "mlp_ratio": 2}, "strategy": "gdas"}
    other |= {"cost": {"params": 201_984, "flops": 402_000}, "search_flops": 3.5e12}
    other["comparison"][0]["metrics"] = {"loss": 4.75}
    config = CONFIG.replace("drnas", "gdas").replace("seed: 0", "seed: 7")
    page = page_of(first, make_run(outcome=other, config=config, name="second", seed=1))
    assert "2 runs side by side" in page.words
    assert row(page, "state") == ["finished", "finished"]
    assert row(page, "strategy") == ["drnas", "gdas"]
    assert row(page, "seed") == ["0", "7"]
    assert row(page, "params") == ["577,000", "201,984"]
    assert row(page, "budget: params") == ["639,104", "639,104"]
    assert row(page, "validation loss") == ["4.3", "4.75"]
    assert row(page, "validation bits_per_byte") == ["1.9545", "–"]  # noqa: RUF001
    assert row(page, "search FLOPs") == ["2.5 T", "3.5 T"]
    assert row(page, "architecture")[1] == "embed_dim 64 · depth 2 · num_heads 4, 8 · mlp_ratio 2"
    assert "The same in all: 4 settings" in page.words
    assert page.charts() == [
        *("weight-steps", "architecture-steps", "validation-steps", "entropy"),
        *("3 layers, embedding 96 wide", "2 layers, embedding 64 wide"),
    ]
    # Both are drawn to one scale.
    (wide,), (narrow,) = (set(re.findall(r'<rect class="attention"[^>]* width="([\d.]+)"', svg)) for svg in drawings(page))
    assert float(narrow) == pytest.approx(float(wide) * 64 / 96, abs=0.2)


def drawings(page: Page) -> list[str]:
    return re.findall(r'<svg class="drawing".*?</svg>', page.source, flags=re.DOTALL)


def test_runs_of_every_kind(make_run: MakeRun):
    cells = {"space": {"family": "cells", "choices": {"op": {"options": ["skip", "conv"]}}}, "architecture": {"op": "conv"}}
    runs = [
        make_run(outcome=outcome(), name="finished"),
        make_run(name="going-on", config="strategy: drnas\nmax_steps: 200\n"),
        make_run(0, outcome=cells, config=None, name="cells"),
        make_run.training("trained"),
        make_run.training("training", finished=False),
    ]
    with (runs[1] / "metrics.jsonl").open("a") as file:
        file.write('{"step": 60, "split": "wei')
    page = page_of(*runs)
    missing = "in progress or interrupted: no "
    assert row(page, "state") == [
        *("finished", missing + "architecture.json", "finished", "trained", missing + "training.json"),
    ]
    assert row(page, "last step") == ["59", "59 of 200", "none logged", "20 of 20", "19 of 20"]
    assert re.fullmatch(r"[\d.]+ k expected", row(page, "params")[1])
    assert row(page, "validation loss before training")[3] == "5.6426"
    assert "Without settings (no config.yaml): cells." in page.words
    assert "The spaces are of different families: gpt2, cells." in page.words
    assert "Not recorded: cells, trained, training." in page.words  # entropy
    assert "it has no architecture yet (no architecture.json)" in page.words
    assert "This run trained one net" in page.words
    assert "it has no result yet (no training.json)" in page.words
    assert row(page, "op") == ["conv"]


def test_runs_without_a_line(make_run: MakeRun):
    page = page_of(make_run(0, name="a"), make_run(0, name="b"))
    assert "No run has logged a loss yet." in page.words
    assert "No setting differs." in page.words
    assert page.charts() == []


def test_other_data_is_a_caution(make_run: MakeRun):
    runs = [make_run(1, config=f"strategy: drnas\ndataset: {name}\ntokenizer: null\n", name=name) for name in ("one", "two")]
    words = page_of(*runs).words
    assert "The runs differ in dataset: their losses do not compare." in words
    assert "differ in tokenizer" not in words


def test_what_comes_from_files_is_escaped(make_run: MakeRun):
    hostile = '<script>alert("x")</script>'
    nasty: dict[str, Any] = outcome() | {"cost": {hostile: 1.0}, "budget": {hostile: 2.0}}
    nasty["comparison"][0]["metrics"] = {hostile: 1}
    nasty["space"] = {"family": hostile, "choices": {}}
    nasty["architecture"] = {hostile: hostile}
    config = json.dumps({"dataset": hostile, hostile: hostile, "strategy": hostile})
    runs = [make_run(2, outcome=nasty, config=config, name="<b>bold&amp;"), make_run(2, name="<i>slanted")]
    page = page_of(*runs)
    assert "script" not in {tag for tag, _ in page.tags}
    assert not {"b", "i"} & {tag for tag, _ in page.tags}
    assert hostile in page.words
    assert "<b>bold&amp;" in page.words


def test_the_same_names_are_told_apart(make_run: MakeRun, tmp_path: Path):
    runs = [MakeRun(tmp_path / parent)(2) for parent in ("one", "two") if not (tmp_path / parent).mkdir()]
    page = Page(write_side_by_side(runs, tmp_path / "page.html"))
    assert "one/run" in page.words
    assert "two/run" in page.words


def write(run: Path, *records: dict[str, Any]) -> Path:
    run.mkdir(exist_ok=True)
    (run / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return run


def test_flops_are_a_lines_own_or_those_spent_by_its_step(tmp_path: Path):
    run = read_run(
        write(
            tmp_path / "run",
            {"step": 0, "split": "architecture", "loss": 9.0},  # nothing was spent that anyone told of
            {"step": 1, "split": "weight", "loss": 5.0, "flops": 10.0},
            {"step": 2, "split": "weight", "loss": 4.0, "flops": 20.0},
            {"step": 2, "split": "incumbent", "loss": 3.0, "flops": 24.0},
            {"step": 2, "split": "incumbent", "loss": 2.0, "flops": 28.0},  # evaluated, and no step done
            {"step": 3, "split": "validation", "loss": 1.0},
        )
    )
    assert over_flops("weight")(run).steps == [10.0, 20.0]
    incumbent = over_flops("incumbent")(run)
    assert (incumbent.steps, incumbent.values) == ([24.0, 28.0], [3.0, 2.0])
    assert over_flops("validation")(run).steps == [20.0]
    assert len(over_flops("architecture")(run)) == 0
    assert over_steps("incumbent")(run).values == [2.0]


def test_losses_over_flops_are_drawn_where_recorded(tmp_path: Path):
    told = write(tmp_path / "told", *({"step": s, "split": "weight", "loss": 5.0 - s, "flops": 10.0 * s} for s in range(3)))
    untold = write(tmp_path / "untold", *({"step": s, "split": "weight", "loss": 5.0 - s} for s in range(3)))
    page = page_of(told, untold)
    assert page.charts() == ["weight-steps", "weight-flops"]
    assert page.words.count("Not recorded: untold.") == 1


def test_every_run_has_its_own_line():
    assert len({stroke(at) for at in range(24)}) == 24


def test_bad_folders_and_pages(make_run: MakeRun, tmp_path: Path):
    run, other = make_run(1, name="a"), make_run(1, name="b")
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder"):
        write_side_by_side([run, tmp_path / "nowhere"], tmp_path / "page.html")
    with pytest.raises(ValueError, match="a is given twice"):
        write_side_by_side([run, other, tmp_path / "b" / ".." / "a"], tmp_path / "page.html")
    with pytest.raises(ValueError, match=r"config\.yaml does not end in \.html"):
        write_side_by_side([run, other], run / "config.yaml")
    with pytest.raises(FileNotFoundError, match="missing is not a folder"):
        write_report(run, tmp_path / "missing" / "page.html")
    assert not list(tmp_path.glob("*.html"))
