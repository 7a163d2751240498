"""The table of the assessment, and the whole of it on a space of seconds."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from knotwork_spaces import load_space
from knotwork_tasks.compare._processes import CellProcesses

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


def test_the_table_says_what_its_cells_found(quality, monkeypatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    found = {"embed_dim": 96, "depth": 3, "num_heads": 4, "mlp_ratio": 3}
    computed: list[dict[str, Any]] = []

    def made_up(cell: dict[str, Any]) -> dict[str, Any]:
        run = Path(cell["run"])
        if cell["kind"] == "search":
            run.mkdir()
            (run / "space.json").write_text(json.dumps(load_space("gpt-nano").build(vocab_size=260).as_dict()))
            (run / "architecture.json").write_text(json.dumps({"architecture": found, "budget": {"params": 600_000}}))
            return {"memory": 1}
        if cell["kind"] == "inherit":
            return {"losses": [values["depth"] + values["embed_dim"] / 1000 for values in cell["architectures"]]}
        values = cell["architecture"]
        # The seeds differ by twice 0.1 in every net.
        return {"loss": 1.0 if values == found else 2 + values["depth"] + values["embed_dim"] / 1000 + 0.2 * cell["seed"]}

    def compute(_: CellProcesses, cells: list[dict[str, Any]]) -> tuple[int, str]:
        for cell in cells:
            Path(cell["result"]).parent.mkdir(exist_ok=True)
            Path(cell["result"]).write_text(json.dumps(made_up(cell)))
        computed.extend(cells)
        return 0, ""

    monkeypatch.setattr(CellProcesses, "compute", compute)
    given = ["--output-dir", str(tmp_path / "out"), "--search-seeds", "2", "--random", "5", "--steps", "7", "--processes", "2"]
    monkeypatch.setattr(sys, "argv", ["search_quality", *given, "--learning-rate", "0.5", "--search-flags", "--max-steps", "3"])
    with pytest.raises(SystemExit, match="0"):
        quality.main()
    said = capsys.readouterr().out
    rows = [
        [part.strip() for part in line.split("|")] for line in said.splitlines() if line.startswith(("| found", "| random"))
    ]
    assert [row[1] for row in rows] == [*(f"found, search seed {i}" for i in range(2)), *(f"random {i}" for i in range(5))]
    assert {row[3] for row in rows[:2]} == {"1.0000"}
    for row in rows[2:]:
        values = dict(part.split(" ") for part in row[4].split(", "))
        expected = 2 + int(values["depth"]) + int(values["embed_dim"]) / 1000 + 0.1
        assert row[3] == (f"{expected:.4f}" if row[4] != rows[0][4] else "1.0000")
    # Two at a time end in any order.
    computed.sort(key=lambda cell: cell["result"])
    searches, trainings = ([cell for cell in computed if cell["kind"] == kind] for kind in ("search", "train"))
    assert searches[1]["arguments"][2:] == ["--seed", "1", "--granularity", "uniform", "--max-steps", "3"]
    assert {(cell["seed"], cell["steps"], cell["learning_rate"], cell["run"]) for cell in trainings} == {
        (seed, 7, 0.5, searches[0]["run"]) for seed in (0, 1)
    }
    # Other searches do not share the folder.
    monkeypatch.setattr(sys, "argv", ["search_quality", *given, "--search-flags", "--max-steps", "4"])
    with pytest.raises(SystemExit, match="2"):
        quality.main()
    assert "holds a comparison with search_flags" in capsys.readouterr().err


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
