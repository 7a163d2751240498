"""Train a found GPT, or another folder of transformers: `uv run apps/train_gpt --model runs/first/model --output-dir OUT`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from knotwork_tasks import run_command
from knotwork_tasks.text import parse_text_train_flags, text_training
from knotwork_tasks.training import train

DESCRIPTION = "Train a language model, also with a teacher; out comes the same kind of folder, its card's numbers updated."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the app. Returns its exit code: 0, 1 for a folder that fails its verification, 2 for bad input."""
    return run_command("train_gpt", lambda: train(parse_text_train_flags("train_gpt", DESCRIPTION, arguments), text_training))


if __name__ == "__main__":
    sys.exit(main())
