"""The tables of compression, from a few steps of everything."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "tools" / "compress.py"


def table_rows(printed: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines() if line.startswith("|")]


@pytest.mark.slow
def test_both_tables_tell_what_was_trained_and_nothing_is_done_twice(tmp_path: Path):
    steps = ["--checkpoint-steps", "3", "--search-steps", "2", "--steps", "1", "--batch-size", "4"]
    command = [sys.executable, str(PATH), "--output-dir", str(tmp_path), *steps]
    printed, again = (subprocess.run(command, check=True, capture_output=True, text=True) for _ in range(2))
    done = re.findall("done: (.*)", printed.stderr)
    assert len(done) == 10
    assert "done:" not in again.stderr
    rows = table_rows(printed.stdout)
    assert table_rows(again.stdout) == rows

    orders, ways = rows[2:6], rows[8:]
    assert [row[0] for row in orders] == ["none", "magnitude", "activation", "taylor"]
    assert [row[0].split()[0] for row in ways] == ["(a)", "(b)", "(b')", "(c)"]
    assert [row[2] for row in ways] == ["1", "3", "3", "3"]  # those that search nothing train for as long in all
    whole = int(re.findall(r"Checkpoint: ([\d,]+) parameters, 3 steps, ", printed.stdout)[0].replace(",", ""))
    for row, name in zip(ways, ("searched", "scaled", "scaled-ordered", "scratch"), strict=True):
        stored = json.loads((tmp_path / f"{name}.json").read_text())
        assert row[3:] == [f"{stored['before']:.4f}", f"{stored['loss']:.4f}"]
        assert whole / 4 < stored["params"] <= whole / 2
    for row in orders:
        stored = json.loads((tmp_path / f"order-{row[0]}.json").read_text())
        assert row[1:] == [f"{loss:.3f}" for loss in stored.values()]
