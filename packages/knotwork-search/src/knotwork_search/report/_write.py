"""Composing the page and putting it in its place."""

from __future__ import annotations

import os
from pathlib import Path

from knotwork_search.report._front import front_html
from knotwork_search.report._headline import headline_html, title
from knotwork_search.report._outcome import (
    architecture_html,
    comparison_html,
    samples_html,
    settings_html,
    shortlist_html,
)
from knotwork_search.report._progress import probabilities_html, progress_html
from knotwork_search.report._run import Run, read_run
from knotwork_search.report._template import page_html


def write_report(run: Path) -> Path:
    """Write `run/report.html`, one page that needs no other file, and return its path.

    The run may still be in progress. The same files give the same bytes, and a failure leaves an older report alone.

    Raises:
        FileNotFoundError: `run` is not a folder.
        ValueError: the folder holds none of a run's files, or one of them is broken.
    """
    page = compose(read_run(run))
    path = Path(run) / "report.html"
    # A lone surrogate, legal in JSON, has no UTF-8.
    _write_atomically(path, page.encode("utf-8", errors="replace"))
    return path


def compose(run: Run) -> str:
    """The page of `run`: what was found first, how the search went next, settings last."""
    parts = (
        headline_html,
        architecture_html,
        comparison_html,
        front_html,
        progress_html,
        probabilities_html,
        shortlist_html,
        samples_html,
        settings_html,
    )
    return page_html(title(run), "".join(part(run) for part in parts))


def _write_atomically(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
