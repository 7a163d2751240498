"""The image app on the toy-cell space: the same flags, another family."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from knotwork_spaces.cells import OPERATIONS, load_cells
from knotwork_tasks import SavedRun
from knotwork_tasks.images import CellPackaging, load_packaging

from .conftest import Main

CHOICES = [f"{cell}_{edge}" for cell in ("normal", "reduce") for edge in ("0_1", "0_2", "1_2")]
SPACE = "\n".join(
    [
        "family: toy-cell",
        *(f"{name}: [{', '.join(OPERATIONS)}]" for name in CHOICES),
        "width: 8",
        "recipe: {max_steps: 4, batch_size: 32, learning_rate: 0.01}",
    ]
)


@pytest.fixture(scope="module")
def finished_cells(search_vit: Main, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cells")
    (folder / "tiny.yaml").write_text(SPACE)
    flags = ["--space", str(folder / "tiny.yaml"), "--candidates", "4", "--finetune-steps", "2"]
    assert search_vit([*flags, "--output-dir", str(folder / "run")]) == 0
    return folder / "run"


def test_a_run_leaves_a_network_that_loads_alone(finished_cells: Path):
    outcome = json.loads((finished_cells / "architecture.json").read_text())
    model = load_cells(finished_cells / "model")
    assert model.config["architecture"] == outcome["architecture"]
    assert sum(p.numel() for p in model.parameters()) == outcome["cost"]["params"] <= outcome["budget"]["params"]
    assert {path.name for path in (finished_cells / "model").iterdir()} == {
        "config.json", "model.safetensors", "toy_cell_network.py", "preprocessing.json",
    }  # fmt: skip
    assert len(outcome["samples"]) == 3
    report = (finished_cells / "report.html").read_text()
    assert all(name in report for name in (*CHOICES, *OPERATIONS))


def test_the_run_is_exported_again(export_app: Main, finished_cells: Path, tmp_path: Path):
    assert export_app(["--run", str(finished_cells), "--output-dir", str(tmp_path / "model")]) == 0
    again, first = load_cells(tmp_path / "model").state_dict(), load_cells(finished_cells / "model").state_dict()
    for name, tensor in first.items():
        torch.testing.assert_close(again[name], tensor, msg=name)


def test_the_runs_folder_keeps_what_an_export_needs(finished_cells: Path):
    run = SavedRun(finished_cells)
    assert isinstance(run.packaging, CellPackaging)
    assert run.packaging.calibration.shape == (512, 1, 8, 8)
    assert run.space.family == "toy-cell"


def test_damaged_calibration_images_are_named(finished_cells: Path, tmp_path: Path):
    run = SavedRun(finished_cells).folder
    other = type(run)(tmp_path)
    SavedRun(finished_cells).packaging.save(other)
    (tmp_path / "calibration.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"calibration\.safetensors does not hold images"):
        load_packaging(other)


def test_flags_of_a_vit_are_refused(search_vit: Main, tmp_path: Path, capsys):
    assert search_vit(["--space", "toy-cell", "--patch-size", "2", "--output-dir", str(tmp_path / "run")]) == 2
    assert "a toy-cell space does not fit these settings: " in capsys.readouterr().err
