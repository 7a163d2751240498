"""What the tests of both training apps look at: figures, cards and files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def validation(run: Path) -> list[dict[str, Any]]:
    """The figures before and after a training, as metrics.jsonl has them."""
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [record for record in records if record["split"] == "validation"]


def losses(run: Path) -> list[float]:
    """Of the training steps."""
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [record["loss"] for record in records if record["split"] == "weight"]


def results(folder: Path) -> dict[str, list[str]]:
    """The card's results: from each metric to the numbers before and after."""
    section = (folder / "README.md").read_text().split("## Results\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.strip().splitlines()]
    assert rows[0] == ["metric", "before training", "after training"]
    return {name: numbers for name, *numbers in rows[2:]}


def files(folder: Path) -> dict[str, bytes]:
    """Every file's content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def drop_record(run: Path) -> None:
    """Make a finished training one that was killed before its model was whole."""
    (run / "training.json").unlink()
    newest = max((run / "checkpoints").iterdir())
    for file in newest.iterdir():
        file.unlink()
    newest.rmdir()
    (run / "model" / "model.safetensors").write_bytes(b"cut short")
