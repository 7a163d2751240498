"""The statistics of the assessment."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "tools" / "search_quality.py"


@pytest.fixture(scope="module")
def quality():
    spec = importlib.util.spec_from_file_location("search_quality", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["search_quality"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_whole_assessment_on_a_space_of_seconds(tmp_path: Path):
    text, space, out = tmp_path / "tale.txt", tmp_path / "tiny.yaml", tmp_path / "quality"
    text.write_text("".join(f"line {i}: the cat sat on mat number {i * 7 % 13}.\n" for i in range(400)))
    space.write_text(
        "{family: gpt2, embed_dim: [8, 12, 16], depth: [1, 2], num_heads: [1, 2], mlp_ratio: [1, 2, 4], block_size: 16, "
        "recipe: {tokenizer: 'train:260', max_steps: 4, batch_size: 4, learning_rate: 0.01}}"
    )
    flags = ["--output-dir", str(out), "--search-seeds", "1", "--random", "2", "--steps", "3", "--processes", "1"]
    search = ["--space", str(space), "--dataset", str(text), "--candidates", "2", "--finetune-steps", "0"]
    command = [sys.executable, str(PATH), *flags, "--search-flags", *search]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len([line for line in done.stdout.splitlines() if line.startswith("| found, search seed ")]) == 1
    assert len([line for line in done.stdout.splitlines() if line.startswith("| random ")]) == 2
    assert "standard errors" in done.stdout
    # What is there is not computed again, and the table is the same.
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (again.stdout, again.stderr) == (done.stdout, "")
