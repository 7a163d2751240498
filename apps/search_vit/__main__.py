"""Search a ViT, or cells with `--space toy-cell`: `uv run apps/search_vit --output-dir runs/vit`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from knotwork_tasks import run_command, search
from knotwork_tasks.images import image_task, parse_image_flags

DESCRIPTION = "Search a Vision Transformer in one weight-entangled supernet; out comes a model that timm loads."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the app. Returns its exit code: 0, 1 for an export that fails its verification, 2 for bad input."""
    return run_command("search_vit", lambda: search(parse_image_flags("search_vit", DESCRIPTION, arguments), image_task))


if __name__ == "__main__":
    sys.exit(main())
