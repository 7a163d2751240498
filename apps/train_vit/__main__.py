"""Train a found ViT, or any ViT's folder that timm loads: `uv run apps/train_vit --model runs/vit/model --output-dir OUT`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from knotwork_tasks import run_command
from knotwork_tasks.images import image_training, parse_image_train_flags
from knotwork_tasks.training import train

DESCRIPTION = "Train an image classifier, also with a teacher; out comes the same kind of folder, its card's numbers updated."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the app. Returns its exit code: 0, 1 for a folder that fails its verification, 2 for bad input."""
    return run_command("train_vit", lambda: train(parse_image_train_flags("train_vit", DESCRIPTION, arguments), image_training))


if __name__ == "__main__":
    sys.exit(main())
