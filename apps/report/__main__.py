"""Rebuild the page of a run from its folder, or lay several runs side by side: `uv run apps/report RUN [RUN ...]`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser
from knotwork_search.report import write_report, write_side_by_side
from knotwork_tasks import run_command

SIDE_BY_SIDE = "side-by-side.html"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the app. Returns its exit code: 0, 2 for bad input."""
    return run_command("report", lambda: report_app(arguments))


def report_app(arguments: Sequence[str] | None) -> None:
    """Parse the flags, write the page and say where it is."""
    parser = ArgumentParser(prog="report", description=__doc__, exit_on_error=False)
    parser.add_argument("runs", type=str, nargs="+", metavar="RUN", help="a run's folder, finished, in progress or interrupted")
    parser.add_argument(
        "--output",
        type=str | None,
        metavar="FILE.html",
        help=f"the page; by default report.html in the run's folder, of several runs {SIDE_BY_SIDE} beside the first folder",
    )
    flags = parser.parse_args(list(arguments) if arguments is not None else None)
    if len(flags.runs) == 1:
        page = write_report(flags.runs[0], flags.output)
    else:
        page = write_side_by_side(flags.runs, flags.output or Path(flags.runs[0]).resolve().parent / SIDE_BY_SIDE)
    print(page)


if __name__ == "__main__":
    sys.exit(main())
