"""A folder in timm's format, looked at before timm builds what it describes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
import torch

from knotwork_spaces._model_folder import check_model_folder, check_size


def check_timm_folder(folder: Path, *, weights: bool = True) -> dict[str, Any]:
    """The configuration of a folder in timm's format, once it is seen that it describes the weights that lie there.

    Args:
        folder: with ``config.json`` and ``model.safetensors``.
        weights: whether the weights are to be loaded as well.

    Returns:
        What ``config.json`` says.

    Raises:
        OSError: a file cannot be read.
        ValueError: as ``check_model_folder`` does, or no model that timm builds, or one far larger than its weights.
    """
    config = check_model_folder(folder, weights=weights, sharded=False)
    name = config.get("architecture")
    if not isinstance(name, str) or not timm.is_model(name):
        raise ValueError(f"{folder} is not in timm's format: its config.json names the architecture {name!r}")
    try:
        with torch.device("meta"):
            model = timm.create_model(f"local-dir:{folder}", pretrained=False)
    except Exception as error:  # timm and each model have their own
        raise ValueError(
            f"timm cannot build what {folder / 'config.json'} describes ({type(error).__name__}: {error})"
        ) from error
    check_size(folder, model, weights=weights)
    return config
