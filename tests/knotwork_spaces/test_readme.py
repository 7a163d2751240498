"""The README's examples of cells and Llamas; the first is one that tests/test_workspace.py runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[2] / "packages" / "knotwork-spaces" / "README.md"


@pytest.mark.parametrize("family", ["cells", "llama"])
def test_the_example_of_a_family_runs(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    blocks = re.findall(r"(?ms)^```python\n(.*?)^```$", README.read_text(encoding="utf-8"))
    (code,) = [block for block in blocks if f"knotwork_spaces.{family}" in block]
    monkeypatch.chdir(tmp_path)
    exec(compile(code, str(README), "exec"), {})
