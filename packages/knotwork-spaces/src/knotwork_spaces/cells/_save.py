"""A plain network as a folder: weights, configuration, and the file that loads both."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from safetensors.torch import save_file

from knotwork_spaces.cells import toy_cell_network
from knotwork_spaces.cells.toy_cell_network import ToyCellNetwork


def save_cells(model: ToyCellNetwork, folder: Path | str) -> Path:
    """Write ``model.safetensors``, ``config.json`` with the architecture, and ``toy_cell_network.py``, which loads them alone.

    ``load_cells(folder)`` gives the same logits, here or, imported from the folder, where knotwork is not installed.

    Args:
        model: with running statistics: ``recalibrate`` an extracted one first.
        folder: made if it is not there.

    Returns:
        The folder.

    Raises:
        ValueError: the folder is not empty, or the model's batch norms have seen no batch.
    """
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty: save a model to a new folder")
    if not any(int(value) for name, value in model.state_dict().items() if name.endswith("num_batches_tracked")):
        raise ValueError(
            "the batch norms of this model have no statistics yet: recalibrate it, or train it, before it is saved"
        )
    folder.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(model.config, indent=2) + "\n", encoding="utf-8")
    shutil.copyfile(toy_cell_network.__file__, folder / "toy_cell_network.py")
    return folder
