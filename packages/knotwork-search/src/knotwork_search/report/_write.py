"""Composing the page and putting it in its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from knotwork_search._files import write_atomically
from knotwork_search.report._front import front_html
from knotwork_search.report._headline import headline_html, title
from knotwork_search.report._outcome import (
    architecture_html,
    comparison_html,
    samples_html,
    settings_html,
    shortlist_html,
    training_html,
)
from knotwork_search.report._progress import probabilities_html, progress_html
from knotwork_search.report._run import Run, read_run
from knotwork_search.report._side_by_side import compose_side_by_side
from knotwork_search.report._template import page_html


def write_report(run: Path | str, path: Path | str | None = None) -> Path:
    """Write one page about `run` that needs no other file, and return its path.

    The run may still be in progress. The same files give the same bytes, and a failure leaves an older report alone.

    Args:
        run: the run's folder.
        path: of the page; `report.html` in the folder by default.

    Raises:
        FileNotFoundError: `run` is not a folder.
        ValueError: the folder holds none of a run's files, or one of them is broken; or `path` cannot be a page's.
    """
    run = Path(run)
    path = run / "report.html" if path is None else _checked(Path(path))
    _write(path, compose(read_run(run)))
    return path


def write_side_by_side(runs: Sequence[Path | str], path: Path | str) -> Path:
    """Write one page that lays several runs side by side, and return its path.

    Each may be of another space, of another kind, or in progress: the page says what is missing.

    Args:
        runs: their folders, all different.
        path: of the page.

    Raises:
        FileNotFoundError: a run is not a folder.
        ValueError: a folder is given twice, holds none of a run's files, or one of them is broken; or `path` cannot be a
            page's.
    """
    folders, path = [Path(run) for run in runs], _checked(Path(path))
    named = [replace(read_run(folder), name=name) for folder, name in zip(folders, distinct_names(folders), strict=True)]
    _write(path, compose_side_by_side(named))
    return path


def distinct_names(folders: Sequence[Path]) -> list[str]:
    """The end of each path, as much of it as tells all of them apart.

    Raises:
        ValueError: two are the same folder.
    """
    parts = [folder.resolve().parts for folder in folders]
    for at, folder in enumerate(folders):
        if parts[at] in parts[:at]:
            raise ValueError(f"{folder} is given twice. Give each run once.")
    ends = (["/".join(entry[-length:]) for entry in parts] for length in range(1, max(map(len, parts)) + 1))
    return next(names for names in ends if len(set(names)) == len(names))


def _checked(path: Path) -> Path:
    if path.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"{path} does not end in .html. Name the page to write, such as side-by-side.html.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent} is not a folder. Make it, or name a page in one that exists.")
    return path


def compose(run: Run) -> str:
    """The page of `run`: what was found first, how the search went next, settings last."""
    parts = (
        headline_html,
        training_html,
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


def _write(path: Path, page: str) -> None:
    # A lone surrogate, legal in JSON, has no UTF-8.
    write_atomically(path, page.encode("utf-8", errors="replace").decode("utf-8"))
