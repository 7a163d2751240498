"""The README's examples after the first, which tests/test_workspace.py runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "packages" / "knotwork-export" / "README.md"


def test_classifier_example_runs(tmp_path: Path):
    _, code = re.findall(r"(?ms)^```python\n(.*?)^```$", README.read_text(encoding="utf-8"))
    (tmp_path / "example.py").write_text(code, encoding="utf-8")
    done = subprocess.run([sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["['cat', 'dog']", "{0: 'cat', 1: 'dog'}"]
