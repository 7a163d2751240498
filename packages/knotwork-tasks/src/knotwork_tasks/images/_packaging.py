"""What leaves with an image classifier: labels and preprocessing, and for cells the images that set their batch norms."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from knotwork_export import ExportError, Preprocessing, Provenance, export_classifier
from knotwork_ops import Architecture, read_mapping
from knotwork_search import RunFolder, write_atomically
from knotwork_spaces import check_finite
from knotwork_spaces.cells import load_cells, recalibrate, save_cells
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

CALIBRATION_BATCH = 128


@dataclass
class ImagePackaging:
    """A classifier leaves with the names of its classes and how an image is prepared."""

    preprocessing: Preprocessing

    def save(self, run: RunFolder) -> None:
        """Keep both in the run's folder."""
        write_atomically(preprocessing_file(run), json.dumps(asdict(self.preprocessing), indent=2) + "\n")

    def export(self, supernet: Any, architecture: Architecture, folder: Path, provenance: Provenance) -> Path:
        """Export a subnet, verified against the supernet's own logits."""
        images = torch.randn(2, *self.preprocessing.input_size, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            logits = supernet.logits(images, architecture)
        return export_classifier(
            supernet.extract(architecture),
            folder,
            timm_model=supernet.space.timm_model(architecture),
            preprocessing=self.preprocessing,
            provenance=provenance,
            reference_images=images,
            reference_logits=logits,
        )

    def ready(self, model: nn.Module) -> nn.Module:
        """An extracted model in eval mode, made fit for use."""
        return model

    def loading(self, folder: Path, architecture: Architecture) -> str:
        """The lines of Python that load an exported folder."""
        return loading_lines(folder)


@dataclass
class CellPackaging(ImagePackaging):
    """A network of cells also needs images: its batch norms get their statistics when it leaves the supernet.

    Attributes:
        calibration: (images, channels, height, width), training images as the network sees them.
    """

    calibration: Tensor

    def save(self, run: RunFolder) -> None:
        """Keep all in the run's folder."""
        super().save(run)
        save_file({"image": self.calibration.contiguous()}, _calibration_file(run))

    def ready(self, model: nn.Module) -> nn.Module:
        """An extracted model in eval mode, its batch norms recalibrated."""
        recalibrate(model, [{"image": images} for images in self.calibration.split(CALIBRATION_BATCH)])
        return model

    def export(self, supernet: Any, architecture: Architecture, folder: Path, provenance: Provenance) -> Path:
        """Save a subnet's recalibrated network, verified: loaded again, it gives the same logits."""
        model: Any = self.ready(supernet.extract(architecture).eval())
        save_cells(model, folder)
        described = {**asdict(self.preprocessing), "provenance": asdict(provenance)}
        (folder / "preprocessing.json").write_text(json.dumps(described, indent=2, default=str) + "\n", encoding="utf-8")
        images = torch.randn(2, *self.preprocessing.input_size, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            if not torch.equal(load_cells(folder)(images), model(images)):
                raise ExportError(f"{folder} does not give the logits of the network it was written from")
        return folder

    def loading(self, folder: Path, architecture: Architecture) -> str:
        """The lines of Python that load an exported folder."""
        lines = ["import sys", f'sys.path.insert(0, "{folder}")', "from toy_cell_network import load_cells"]
        return "\n".join([*lines, f'model = load_cells("{folder}")'])


def load_packaging(run: RunFolder) -> ImagePackaging:
    """The packaging that a run's folder holds. Raises ValueError when it is missing or damaged."""
    values = read_mapping(preprocessing_file(run))
    try:
        lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        preprocessing = Preprocessing(**{**values, **lists})
    except TypeError as error:
        raise ValueError(f"{preprocessing_file(run)} does not describe a preprocessing: {error}") from error
    calibration = _calibration_file(run)
    if not calibration.exists():
        return ImagePackaging(preprocessing)
    try:
        images = load_file(calibration)["image"]
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"{calibration} does not hold images: {error}") from error
    if images.shape[1:] != preprocessing.input_size or not images.is_floating_point():
        raise ValueError(f"{calibration} holds {images.dtype} images {tuple(images.shape)}, not of {preprocessing.input_size}")
    check_finite({"image": images}, calibration)
    return CellPackaging(preprocessing, images)


def loading_lines(folder: Path) -> str:
    """The lines of Python that load an exported timm folder."""
    lines = ["import timm", f'model = timm.create_model("local-dir:{folder}", pretrained=True)']
    if any(Path(folder).glob("*.py")):  # a model of its own, which timm has to be told of
        lines.insert(1, "import knotwork_export.timm_models")
    return "\n".join(lines)


def preprocessing_file(run: RunFolder) -> Path:
    """Where a run keeps its labels and how an image is prepared."""
    return run.path / "preprocessing.json"


def _calibration_file(run: RunFolder) -> Path:
    return run.path / "calibration.safetensors"
