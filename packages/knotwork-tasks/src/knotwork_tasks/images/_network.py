"""An image classifier from its folder, as timm loads it, with what it says of images and classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from knotwork_export import Preprocessing
from knotwork_spaces import check_finite
from knotwork_spaces.vit import check_timm_folder
from knotwork_spaces.vit import per_layer_vit as _registered  # noqa: F401  # timm knows the model by this import
from safetensors import safe_open
from timm.data.config import resolve_model_data_config
from torch import nn

WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class ImageNetwork:
    """A classifier that timm builds.

    Attributes:
        model: of timm.
        timm_model: the name and ``model_args`` that timm builds it from.
        preprocessing: of its images; without labels where the folder does not name its classes.
    """

    model: nn.Module
    timm_model: tuple[str, Mapping[str, Any]]
    preprocessing: Preprocessing


def load_classifier(folder: Path, *, weights: bool = True) -> ImageNetwork:
    """The classifier of a folder in timm's format. A folder's own code is not run: Knotwork's per-layer model is known here.

    Args:
        folder: with ``config.json`` and ``model.safetensors``.
        weights: whether to read its weights; else they are drawn anew from torch's global generator.

    Raises:
        ValueError: it is no classifier of timm's that can be loaded so, or its weights are not finite; the message says why.
        OSError: a file cannot be read.
    """
    config = check_timm_folder(folder, weights=weights)
    try:
        with _default_precision(_precision(folder) if weights else torch.float32):
            model: Any = timm.create_model(f"local-dir:{folder}", pretrained=weights)
        settings = resolve_model_data_config(model)
        labels = tuple(model.pretrained_cfg.get("label_names") or ())
        preprocessing = Preprocessing(
            labels,
            tuple(settings["input_size"]),
            tuple(settings["mean"]),
            tuple(settings["std"]),
            settings["interpolation"],
            settings["crop_pct"],
            settings["crop_mode"],
        )
    except Exception as error:  # timm, safetensors and each model have their own
        raise ValueError(f"{folder} cannot be loaded with timm ({type(error).__name__}: {error})") from error
    check_finite(model.state_dict(), folder)
    return ImageNetwork(model, (config["architecture"], config.get("model_args") or {}), preprocessing)


def _precision(folder: Path) -> torch.dtype:
    with safe_open(folder / WEIGHTS, "pt") as file:
        return next(tensor.dtype for tensor in map(file.get_tensor, file.keys()) if tensor.is_floating_point())


@contextmanager
def _default_precision(dtype: torch.dtype) -> Iterator[None]:
    """Have timm build in another precision than torch's default, which it would round the weights to."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
