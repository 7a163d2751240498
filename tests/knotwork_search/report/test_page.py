"""The page as a reader's browser gets it."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from knotwork_search.report import write_report

from .conftest import MakeRun, metrics, outcome

VOID = {"meta", "link", "br", "img", "hr", "input"}


class Page(HTMLParser):
    """The page's elements, checked for balance on the way."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(self.source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())

    def charts(self) -> list[str]:
        return [str(attrs["aria-label"]) for tag, attrs in self.tags if tag == "svg"]


def assert_self_contained(page: Page) -> None:
    bare = re.sub(r' xmlns(:\w+)?="[^"]*"', "", page.source)
    assert "http" not in bare.replace("http-equiv", "")
    assert "@import" not in bare
    assert not re.search(r"url\((?!#)", bare)
    for tag, attrs in page.tags:
        assert tag not in {"script", "link", "img", "iframe", "object", "embed"}
        assert not {"src", "srcset", "onload", "onclick"} & attrs.keys()
        for name in ("href", "xlink:href"):
            assert (attrs.get(name) or "#").startswith("#")
    ids = Counter(attrs["id"] for _, attrs in page.tags if "id" in attrs)
    assert [name for name, count in ids.items() if count > 1] == []
    for reference in re.findall(r'(?:url\(|href=")#([^")]+)', bare):
        assert reference in ids


@pytest.mark.parametrize("per_layer", [True, False], ids=["per-layer", "uniform"])
def test_a_full_run(make_run: MakeRun, per_layer: bool):
    run = make_run(outcome=outcome(per_layer=per_layer), per_layer=per_layer)
    path = write_report(run)
    assert path == run / "report.html"
    page = Page(path)
    assert_self_contained(page)
    heads = "4, 8, 2" if per_layer else "4"
    assert f"embed_dim 96 · depth 3 · num_heads {heads} · mlp_ratio 3" in page.words
    assert "drnas search in gpt2" in page.words
    assert "90.3 % of 639.1 k" in page.words
    assert "budget 639.1 k" in page.words
    assert page.charts() == [
        "3 layers, embedding 96 wide",
        "losses",
        "entropy",
        "expected-cost-0",
        "expected-cost-1",
        "multipliers",
        *(f"probabilities-{at}" for at in range(4)),
    ]
    for expected in ("bits_per_byte", "1,203,456", "finetuned loss", "def open(path):", "transformers 5.1.0"):
        assert expected in page.words
    assert any(attrs.get("name") == "viewport" for _, attrs in page.tags)
    assert sorted(os.listdir(run)) == ["architecture.json", "config.yaml", "metrics.jsonl", "report.html"]


def test_a_run_in_progress(make_run: MakeRun):
    page = Page(write_report(make_run()))
    assert_self_contained(page)
    assert "This run is in progress" in page.words
    assert "budget 639.1 k" in page.words  # from config.yaml
    assert "option 1" in page.words
    assert "probabilities-2" in page.charts()


def test_a_run_in_progress_knows_its_space(make_run: MakeRun):
    run = make_run(config="strategy: drnas\nmax_params: halfway\nmax_steps: 200\n")
    (run / "space.json").write_text(json.dumps(outcome()["space"]))
    page = Page(write_report(run))
    assert "drnas search in gpt2" in page.words
    assert "up to step 59 of 200" in page.words
    assert "expected, budget halfway" in page.words
    assert "option 1" not in page.words


def test_a_training(make_run: MakeRun):
    page = Page(write_report(make_run.training()))
    assert_self_contained(page)
    assert "Training of runs/first/model" in page.words
    assert "after training, 5.643 before" in page.words
    assert "bits_per_byte 3.2873 2.0288" in page.words
    assert "in progress" not in page.words
    assert "Once" in page.words
    assert page.charts() == ["losses"]


def test_a_training_in_progress(make_run: MakeRun):
    page = Page(write_report(make_run.training(finished=False)))
    assert "This training is in progress or was interrupted: it has no result yet (no training.json)." in page.words
    assert "up to step 19 of 20" in page.words


def test_an_empty_metrics_file(make_run: MakeRun):
    page = Page(write_report(make_run(0)))
    assert_self_contained(page)
    assert "No losses are logged yet." in page.words
    assert page.charts() == []


@pytest.mark.parametrize("present", ["config.yaml", "metrics.jsonl", "architecture.json"])
def test_any_one_file_is_enough(make_run: MakeRun, present: str):
    run = make_run(outcome=outcome())
    for path in run.iterdir():
        if path.name != present:
            path.unlink()
    assert_self_contained(Page(write_report(run)))


def test_one_step_only(make_run: MakeRun):
    page = Page(write_report(make_run(1)))
    assert_self_contained(page)
    assert "losses" in page.charts()


def test_odd_values_cost_nothing(make_run: MakeRun):
    run = make_run(3)
    odd = [
        {"split": "weight"},
        {"step": None, "split": "weight", "loss": 1.0},
        {"step": 4, "split": "weight", "loss": None, "extra": {"a": [1]}},
        {"step": 5, "split": "weight", "loss": float("nan")},
        {"step": 6, "split": "architecture", "loss": "high", "probabilities": [0.5], "expected_cost": None},
        {"step": 7, "split": "architecture", "probabilities": {"depth": [], "embed_dim": [None], "heads": [[0.5], 1]}},
        {"step": 8, "split": ["weight"], "loss": True},
        {"step": 9, "split": "architecture", "probabilities": {"late": [0.5, 0.5]}, "multiplier": {"latency": 1}},
    ]
    with (run / "metrics.jsonl").open("a") as file:
        file.writelines(json.dumps(record) + "\n" for record in odd)
    (run / "architecture.json").write_text(json.dumps({"architecture": [], "shortlist": [3, {}], "comparison": [None]}))
    page = Page(write_report(run))
    assert_self_contained(page)
    assert "4 logged losses are not finite numbers" in page.words
    assert "late" in page.words


def test_a_space_that_is_no_transformer_has_its_table(make_run: MakeRun):
    found = {
        "space": {"choices": {"kernel": {"options": [3, 5], "layers": 2}, "op": {"options": ["skip", "conv"]}}},
        "architecture": {"kernel": [3, 5], "op": "conv"},
    }
    page = Page(write_report(make_run(0, outcome=found)))
    assert page.charts() == []
    assert "kernel 3, 5 3, 5 op skip, conv conv" in page.words


def test_over_budget_is_said(make_run: MakeRun):
    page = Page(write_report(make_run(0, outcome=outcome() | {"budget": {"params": 500_000, "latency_ms": 3.0}})))
    assert "115.4 % of 500 k, over budget" in page.words
    assert "latency_ms ? budget 3" in page.words


EVIL = '<script>alert("1")</script>\'"&$x$ ${body} url(x) \ud800'


def test_every_text_is_escaped(make_run: MakeRun):
    found = outcome()
    net = {EVIL: EVIL, **found["architecture"]}
    found |= {
        "space": {"family": EVIL, "choices": {"depth": {"options": [EVIL, 3, 4]}}},
        "architecture": net,
        "cost": {EVIL: 3},
        "budget": {EVIL: 4},
        "strategy": EVIL,
        "seed": EVIL,
        "versions": {EVIL: EVIL},
        "comparison": [{"name": EVIL, "architecture": net, "cost": {EVIL: 3}, "metrics": {EVIL: 4.0}}],
        "shortlist": [{"architecture": net, EVIL: EVIL, "cost": {EVIL: 2}}],
        "samples": [EVIL, {EVIL: EVIL}],
    }
    run = make_run(5, config=json.dumps({"<script>alert(2)": "<script>x", "list": ["<script>"]}), outcome=found)
    evil = {"multiplier": {EVIL: 1}, "expected_cost": {EVIL: 2}, "probabilities": {EVIL: [0.5, 0.5]}}
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 9, "split": "architecture", **evil}) + "\n")
    page = Page(write_report(run))
    assert "<script" not in page.source
    assert page.words.count("<script>alert") >= 14
    assert not any(tag == "script" for tag, _ in page.tags)


def test_a_long_run_stays_small(make_run: MakeRun):
    run = make_run(0, outcome=outcome())
    # 100,000 steps of 48 layers. To make and write them all afresh takes long: few lines come over and over, and the
    # probabilities come every 50th step.
    weight, architecture, deep = [], [], []
    for record in metrics(500, layers=48):
        if record["split"] == "weight":
            weight.append(record)
        elif record["split"] == "architecture":
            deep.append(record)
            architecture.append({key: value for key, value in record.items() if key != "probabilities"})
    after_step = [[json.dumps(r)[len('{"step": ') + len(str(r["step"])) :] for r in part] for part in (weight, architecture)]
    with (run / "metrics.jsonl").open("w") as file:
        for step in range(100_000):
            file.writelines(f'{{"step": {step}{part[step % 500]}\n' for part in after_step)
            if step % 50 == 0:
                file.write(json.dumps(deep[step // 200] | {"step": step}) + "\n")
    path = write_report(run)
    assert 500_000 < path.stat().st_size < 5_000_000
    Page(path)


def test_the_same_input_gives_the_same_bytes(make_run: MakeRun):
    run = make_run(outcome=outcome())
    first = write_report(run).read_bytes()
    assert write_report(run).read_bytes() == first


def test_a_users_matplotlib_settings_change_nothing(make_run: MakeRun):
    import matplotlib as mpl

    run = make_run(outcome=outcome())
    first = write_report(run).read_bytes()
    with mpl.rc_context({"axes.grid": False, "font.size": 20, "lines.linewidth": 9, "svg.hashsalt": "other"}):
        assert write_report(run).read_bytes() == first
        assert mpl.rcParams["font.size"] == 20


def test_a_failure_leaves_the_old_report(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch):
    run = make_run(3)
    first = write_report(run).read_bytes()
    make_run(9)

    def full_disk(descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="disk full"):
        write_report(run)
    assert (run / "report.html").read_bytes() == first
    assert sorted(os.listdir(run)) == ["config.yaml", "metrics.jsonl", "report.html"]


def test_a_folder_that_is_no_run(tmp_path: Path):
    with pytest.raises(ValueError, match=r"holds none of config\.yaml, metrics\.jsonl, architecture\.json"):
        write_report(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder"):
        write_report(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("architecture.json", "{", r"architecture\.json cannot be read: JSONDecodeError"),
        ("architecture.json", "[]", r"architecture\.json is not a mapping"),
        ("config.yaml", "a: [", r"config\.yaml cannot be read: ParserError"),
        ("metrics.jsonl", "{}\noops\n{}\n", r"metrics\.jsonl, line 2 cannot be read: JSONDecodeError"),
    ],
)
def test_a_broken_file_is_named(make_run: MakeRun, name: str, content: str, message: str):
    run = make_run(0)
    (run / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        write_report(run)
