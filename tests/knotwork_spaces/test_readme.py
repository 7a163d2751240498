"""The README's example of cells; the first is one that tests/test_workspace.py runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[2] / "packages" / "knotwork-spaces" / "README.md"


def test_the_example_of_cells_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    blocks = re.findall(r"(?ms)^```python\n(.*?)^```$", README.read_text(encoding="utf-8"))
    (code,) = [block for block in blocks if "knotwork_spaces.cells" in block]
    monkeypatch.chdir(tmp_path)
    exec(compile(code, str(README), "exec"), {})
