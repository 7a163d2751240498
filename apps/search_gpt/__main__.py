"""Search a GPT: `uv run apps/search_gpt --output-dir runs/first`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from knotwork_tasks import run_command, search
from knotwork_tasks.text import parse_text_flags, text_task

DESCRIPTION = "Search a GPT in one weight-entangled supernet; out comes a model that transformers loads."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the app. Returns its exit code: 0, 1 for an export that fails its verification, 2 for bad input."""
    return run_command("search_gpt", lambda: search(parse_text_flags("search_gpt", DESCRIPTION, arguments), text_task))


if __name__ == "__main__":
    sys.exit(main())
