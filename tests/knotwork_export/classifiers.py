"""Tiny ViT supernets whose settings differ as much as they can, and the exports of one architecture of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from knotwork_export import Preprocessing, Provenance, export_classifier
from knotwork_ops import Architecture
from knotwork_spaces.vit import ViTSpace, ViTSupernet
from timm.layers.config import set_fused_attn
from torch import Tensor

LABELS = ("cat", "dog", "a|b", "naïve", "last")
UNIFORM = {"embed_dim": 16, "depth": 2, "num_heads": 4, "mlp_ratio": 2}
PER_LAYER = {"embed_dim": 32, "depth": 2, "num_heads": [2, 4], "mlp_ratio": [4, 2]}


@dataclass(frozen=True)
class Settings:
    """Of a space, the architecture to export, and the weights' precision."""

    space: dict[str, Any]
    architecture: dict[str, Any]
    dtype: torch.dtype = torch.float32


CLASSIFIERS = {
    "uniform": Settings({"channels": 3, "drop_path_rate": 0.1}, UNIFORM),
    "per_layer": Settings({"channels": 1, "global_pool": "avg", "qkv_bias": False}, PER_LAYER),
    "head_dim": Settings({"channels": 3, "head_dim": 6, "init_values": 0.1}, UNIFORM, torch.float64),
}
MORE_CLASSIFIERS = {
    "uniform_grey": Settings({"channels": 1, "init_values": 0.1, "qkv_bias": False}, UNIFORM, torch.float64),
    "uniform_avg": Settings({"channels": 4, "global_pool": "avg"}, UNIFORM, torch.float64),
    "per_layer_token": Settings({"channels": 3, "init_values": 0.1, "dropout": 0.1}, PER_LAYER),
    "head_dim_avg": Settings({"channels": 1, "head_dim": 8, "global_pool": "avg"}, PER_LAYER),
}


@dataclass(frozen=True, eq=False)
class ClassifierCase:
    """An architecture, what the supernet computes for it, and the folder it was exported to."""

    name: str
    supernet: ViTSupernet
    architecture: Architecture
    preprocessing: Preprocessing
    images: Tensor
    logits: Tensor
    folder: Path

    @property
    def custom_code(self) -> bool:
        return not self.name.startswith("uniform")

    @property
    def timm_model(self) -> tuple[str, dict[str, Any]]:
        return self.supernet.space.timm_model(self.architecture)

    def model(self) -> Any:
        return self.supernet.extract(self.architecture)


def prepared(name: str, folder: Path) -> ClassifierCase:
    """All but the export."""
    settings = {**CLASSIFIERS, **MORE_CLASSIFIERS}[name]
    space = ViTSpace.build(
        embed_dim=[16, 32],
        depth=[1, 2],
        num_heads=[2, 4],
        mlp_ratio=[2, 4],
        per_layer=["num_heads", "mlp_ratio"],
        image_size=16,
        patch_size=4,
        num_classes=len(LABELS),
        **settings.space,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = ViTSupernet(space).to(settings.dtype)
        # Weights as drawn give nearly the same logits whatever the net; spread them, biases and norms included.
        for parameter in net.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    channels, architecture = space.channels, space.architecture(settings.architecture)
    images = torch.randn(3, channels, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        logits = net.eval().logits(images.to(settings.dtype), architecture)
    preprocessing = Preprocessing(
        labels=LABELS,
        input_size=(channels, 16, 16),
        mean=(0.1, 0.2, 0.3, 0.4)[:channels],
        std=(0.4, 0.5, 0.6, 0.7)[:channels],
        interpolation="bilinear",
        crop_pct=0.9,
    )
    return ClassifierCase(name, net, architecture, preprocessing, images, logits, folder)


def exported(name: str, folder: Path, *, verify: bool = True) -> ClassifierCase:
    """The case, exported to the folder."""
    case = prepared(name, folder)
    provenance = Provenance(
        case.architecture,
        {name: float(cost) for name, cost in case.supernet.cost(case.architecture).items()},
        strategy="drnas",
        dataset="digits",
        metrics={"top1": 0.875},
    )
    # A training model whose attention is not timm's default: export must compare it in eval mode, as timm would build it.
    case.supernet.train()
    set_fused_attn(name != "head_dim")
    try:
        model = case.model()
    finally:
        set_fused_attn(True)
    written = export_classifier(
        model,
        folder,
        timm_model=case.timm_model,
        preprocessing=case.preprocessing,
        provenance=provenance,
        reference_images=case.images,
        reference_logits=case.logits,
        verify=verify,
    )
    assert written == folder
    assert model.training
    assert model.blocks[0].attn.fused_attn == (name != "head_dim")
    case.supernet.eval()
    return case
