"""Compare search strategies at equal compute: `uv run apps/compare --output-dir runs/comparison`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from knotwork_tasks import run_command
from knotwork_tasks.compare import compare, parse_compare_flags

DESCRIPTION = "Compare search strategies at equal compute, and train what they find from scratch with equal steps."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the app. Returns its exit code: 0, 2 for bad input or a cell that fails."""
    return run_command("compare", lambda: compare(parse_compare_flags("compare", DESCRIPTION, arguments)))


if __name__ == "__main__":
    sys.exit(main())
