"""The pages in headless Chromium, at a desktop's and at a phone's width; skipped where there is none."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from knotwork_search.report import write_report, write_side_by_side

from .conftest import MakeRun, outcome

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
LEAST_TEXT = 12  # CSS pixels
# Of every text that is drawn, what it says and how high its letters are; a chart's text shrinks and grows with the chart.
TEXTS = """() => {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement, text = node.textContent.trim();
    if (!text || element.tagName === "STYLE") continue;
    const matrix = element instanceof SVGGraphicsElement ? element.getScreenCTM() : null;
    const scale = matrix ? Math.hypot(matrix.c, matrix.d) : 1;
    found.push([text, parseFloat(getComputedStyle(element).fontSize) * scale]);
  }
  return found;
}"""
# The texts of charts and drawings that stick out of them.
CUT_OFF = """() => [...document.querySelectorAll("svg text")].filter(text => {
  const inner = text.getBoundingClientRect(), outer = text.ownerSVGElement.getBoundingClientRect();
  return inner.left < outer.left - 1 || inner.right > outer.right + 1 || inner.top < outer.top - 1
    || inner.bottom > outer.bottom + 1;
}).map(text => text.textContent)"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: uv sync")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


def finished(make_run: MakeRun) -> Path:
    return write_report(make_run(outcome=outcome()))


def in_progress(make_run: MakeRun) -> Path:
    run = make_run()
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 60, "split": "wei')
    return write_report(run)


def training(make_run: MakeRun) -> Path:
    return write_report(make_run.training("training"))


def side_by_side(make_run: MakeRun) -> Path:
    narrow = outcome()
    narrow["architecture"] |= {"embed_dim": 64, "mlp_ratio": 0.25}
    cells = {"space": {"choices": {"op": {"options": ["skip", "conv"]}}}, "architecture": {"op": "conv"}}
    runs = [
        make_run(outcome=outcome(), name="a-name-that-is-as-long-as-names-of-runs-become-when-a-sweep-writes-them"),
        make_run(outcome=narrow, name="second", seed=1),
        make_run(name="in-progress"),
        make_run(0, outcome=cells, config=None, name="cells"),
        make_run.training("training"),
    ]
    return write_side_by_side(runs, runs[0].parent / "side-by-side.html")


@pytest.mark.parametrize("width", [1280, 375], ids=["desktop", "phone"])
@pytest.mark.parametrize("write", [finished, in_progress, training, side_by_side], ids=lambda write: write.__name__)
def test_a_page(browser: Browser, make_run: MakeRun, write: Callable[[MakeRun], Path], width: int):
    path = write(make_run)
    page = browser.new_page(viewport={"width": width, "height": 800})
    requests: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(path.as_uri())
    page.wait_for_load_state("networkidle")
    assert requests == [path.as_uri()]
    assert complaints == []
    assert page.locator("meta[name=viewport]").count() == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= page.evaluate("innerWidth") == width
    texts: list[tuple[str, float]] = page.evaluate(TEXTS)
    assert len(texts) > 20
    assert [(text, size) for text, size in texts if size < LEAST_TEXT] == []
    assert page.evaluate(CUT_OFF) == []
    page.close()
