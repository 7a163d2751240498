"""A timm ViT that classifies images: its files and, where its layers differ, its code; its card; what it is compared on."""

from __future__ import annotations

import inspect
import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from huggingface_hub import ModelCard
from knotwork_ops import read_mapping
from safetensors.torch import save_file
from torch import Tensor, nn

from knotwork_export._card import CardContent, build_card, python, table
from knotwork_export._code import check_code, code_files, has_custom_code
from knotwork_export._copy import plain_copy
from knotwork_export._preprocessing import Preprocessing
from knotwork_export._provenance import Provenance
from knotwork_export._reference import Reference, image_reference

if TYPE_CHECKING:
    from timm.models.vision_transformer import VisionTransformer

CODE_MAY_IMPORT = frozenset({"timm", "torch", "transformers"})
IMAGE_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
COLOURS = 3
LABELS_IN_CARD = 20


@dataclass(frozen=True, eq=False)
class Classifier:
    """An image classifier on its way out; see ``Exportable``.

    Attributes:
        plain: a copy of the model.
        name: what timm builds it from.
        arguments: what timm builds it with, ``num_classes`` apart.
        preprocessing: of its images, and the names of its classes.
        reference: images, and the supernet's logits for them.
    """

    plain: VisionTransformer
    name: str
    arguments: Mapping[str, Any]
    preprocessing: Preprocessing
    reference: Reference

    @classmethod
    def of(
        cls,
        model: nn.Module,
        timm_model: tuple[str, Mapping[str, Any]],
        preprocessing: Preprocessing,
        images: Tensor | None,
        logits: Tensor | None,
    ) -> Classifier:
        """Of a given model, which is left as it is.

        Raises:
            ImportError: timm is not installed.
            ValueError: not a timm ViT, or a name, preprocessing or reference that does not fit it.
        """
        plain = _supported_copy(model)
        name, arguments = timm_model
        _check_name(name, arguments)
        _check_fit(plain, preprocessing)
        reference = image_reference(preprocessing.input_size, plain.num_classes, _precision(plain), images, logits)
        return cls(plain, name, arguments, preprocessing, reference)

    @classmethod
    def at(cls, folder: Path, model: nn.Module, images: Tensor | None, logits: Tensor | None) -> Classifier:
        """Of a model that was exported to this folder, described as the folder's configuration does. Raises as ``of`` does."""
        config = read_mapping(folder / "config.json")
        try:
            stored, named = config["pretrained_cfg"], (str(config["architecture"]), dict(config["model_args"]))
            settings = {name: stored[name] for name in ("input_size", "mean", "std", "interpolation", "crop_pct", "crop_mode")}
            values: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in settings.items()}
            preprocessing = Preprocessing(labels=tuple(config["label_names"]), **values)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{folder / 'config.json'} describes no classifier ({type(error).__name__}: {error})") from error
        return cls.of(model, named, preprocessing, images, logits)

    def write(self, folder: Path) -> None:
        """Write configuration, weights and the code of a per-layer model."""
        code, auto_map = _code(self.name)
        if code is not None:
            shutil.copyfile(code, folder / code.name)
            check_code(folder / code.name, CODE_MAY_IMPORT)
        config = self._config() | ({"auto_map": auto_map} if auto_map else {})
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        weights = {name: tensor.contiguous() for name, tensor in self.plain.state_dict().items()}
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    def card(self, folder: Path, provenance: Provenance | None, *, verified: bool) -> ModelCard:
        """The card; without provenance it describes the model alone."""
        content = CardContent(
            name=folder.name,
            summary=(
                "A Vision Transformer that classifies images, whose architecture was found inside a weight-entangled supernet "
                "with Knotwork."
            ),
            library_name="timm",
            pipeline_tag="image-classification",
            tags=["vit", "timm", "transformers"],
            software=["knotwork-export", "timm", "torch", "transformers"],
            parameters=sum(parameter.numel() for parameter in self.plain.parameters()),
            loading=_loading(folder.name, self.preprocessing.input_size[0], _precision(self.plain), code_files(folder)),
            sections={"Images and classes": _images(self.preprocessing)},
            verified=verified,
        )
        return build_card(provenance or Provenance({"model": self.name, **self.arguments}), content)

    def logits(self) -> Tensor:
        """(batch, classes)."""
        return self.plain(self.reference.inputs)

    def request(self, folder: Path) -> dict[str, Any]:
        """Load with transformers and with timm, which must understand the images and classes as they were given."""
        return {
            "loaders": ["transformers_classifier", "timm_classifier"],
            "custom_code": has_custom_code(folder),
            "code": code_files(folder),
            "architecture": self.name,
            "data_config": self.preprocessing.data_config(),
            "labels": list(self.preprocessing.labels),
        }

    def check(self, results: Mapping[str, Tensor]) -> None:
        """Nothing but logits: the fresh process has compared the rest."""

    def _config(self) -> dict[str, Any]:
        """The configuration in timm's own form.

        ``timm.models.save_for_hf`` is not used: it takes ``model_args`` from the model instead of checking the given ones, and
        writes ``num_classes`` among them, which transformers then passes twice.
        """
        return {
            "architecture": self.name,
            "num_classes": self.plain.num_classes,
            "num_features": self.plain.num_features,
            "global_pool": self.plain.global_pool,
            "label_names": list(self.preprocessing.labels),
            "model_args": dict(self.arguments),
            "pretrained_cfg": {
                **self.preprocessing.data_config(),
                "fixed_input_size": not self.plain.dynamic_img_size,
                # What timm replaces for other classes, and adapts for other channels. Up to 1.0.30 it takes every stored model
                # for one of colour images, and spoils the first convolution of any other.
                "classifier": "head",
                **({"first_conv": "patch_embed.proj"} if self.preprocessing.input_size[0] == COLOURS else {}),
            },
        }


def _supported_copy(model: nn.Module) -> VisionTransformer:
    try:
        from timm.models.vision_transformer import VisionTransformer
    except ImportError as error:
        raise ImportError("exporting an image classifier needs timm: pip install 'knotwork-export[vit]'") from error
    if not isinstance(model, VisionTransformer) or model.num_classes < 1:
        raise ValueError(
            f"the model is a {type(model).__name__}: expected a timm VisionTransformer with classes, "
            "such as ViTSupernet.extract(architecture) returns"
        )
    plain = plain_copy(model)
    layers: Iterator[Any] = plain.modules()
    for layer in layers:
        if hasattr(layer, "fused_attn"):
            # As timm has it unless told otherwise; the other way sums in another order.
            layer.fused_attn = True
    return plain


def _precision(plain: nn.Module) -> torch.dtype:
    return next(plain.parameters()).dtype


def _check_name(name: str, arguments: Mapping[str, Any]) -> None:
    import timm

    if not timm.is_model(name):
        raise ValueError(
            f"timm does not know the model {name!r}: pass what ViTSpace.timm_model(architecture) returns, "
            "and import knotwork_export.timm_models first if its layers differ"
        )
    if "num_classes" in arguments:
        raise ValueError(
            f"model_args have num_classes {arguments['num_classes']}: leave it out, timm and transformers pass the model's own"
        )
    _code(name)


def _check_fit(plain: VisionTransformer, preprocessing: Preprocessing) -> None:
    size = (plain.patch_embed.proj.in_channels, *plain.patch_embed.img_size)
    if tuple(preprocessing.input_size) != size:
        raise ValueError(
            f"the preprocessing gives images of {tuple(preprocessing.input_size)}, but the model takes {size} "
            "(channels, height, width)"
        )
    if len(preprocessing.labels) != plain.num_classes:
        raise ValueError(
            f"the preprocessing has {len(preprocessing.labels)} labels, but the model has {plain.num_classes} classes: "
            "name each class once, in the classifier's order"
        )


def _code(name: str) -> tuple[Path | None, dict[str, str]]:
    """The file that registered this model with timm and its ``AUTO_MAP``; nothing for timm's own models."""
    import timm

    entrypoint = timm.models.model_entrypoint(name)
    if entrypoint.__module__.split(".")[0] == "timm":
        return None, {}
    auto_map = getattr(sys.modules[entrypoint.__module__], "AUTO_MAP", None)
    if not auto_map:
        raise ValueError(
            f"the timm model {name!r} is from {entrypoint.__module__}, which has no AUTO_MAP: without it transformers cannot "
            "find the model's class in the file that travels with it"
        )
    return Path(inspect.getfile(entrypoint)), dict(auto_map)


def _images(preprocessing: Preprocessing) -> str:
    labels = preprocessing.labels
    shown = ", ".join(labels[:LABELS_IN_CARD]) + (", ..." if len(labels) > LABELS_IN_CARD else "")
    channels, height, width = preprocessing.input_size
    rows = {
        "size": f"{height} x {width}, {channels} {'channel' if channels == 1 else 'channels'}",
        "resized by": f"{preprocessing.interpolation}, {preprocessing.crop_mode}, crop_pct {preprocessing.crop_pct:g}",
        "mean": preprocessing.mean,
        "std": preprocessing.std,
        "classes": f"{len(labels)}: {shown}",
    }
    return table("images", "value", rows)


def _loading(name: str, channels: int, dtype: torch.dtype, code: list[str]) -> str:
    mode = IMAGE_MODES.get(channels)
    precise = (
        [] if dtype == torch.float32 else [f"torch.set_default_dtype({dtype})  # of the weights; timm builds in the default"]
    )
    image = 'Image.open("image.png")' + (f'.convert("{mode}")' if mode else "")
    folder = f"folder = {json.dumps(name, ensure_ascii=False)}  # this folder's path"
    with_timm = python(
        "import timm",
        *(["import torch"] if precise else []),
        "from PIL import Image",
        *(["", "import knotwork_export.timm_models  # registers the model with timm"] if code else []),
        "",
        folder,
        *precise,
        'model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()  # hf-hub:USER/NAME from the Hub',
        "transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))",
        f"logits = model(transform({image}).unsqueeze(0))",
        'print(model.pretrained_cfg["label_names"][logits.argmax().item()])',
    )
    with_transformers = python(
        "from PIL import Image",
        "from transformers import AutoImageProcessor, AutoModelForImageClassification",
        "",
        f"{folder}, or USER/NAME on the Hub",
        f"model = AutoModelForImageClassification.from_pretrained(folder{', trust_remote_code=True' if code else ''})",
        "processor = AutoImageProcessor.from_pretrained(folder)",
        f"logits = model(**processor({image})).logits",
        "print(model.config.id2label[logits.argmax().item()])",
    )
    text = f"With timm:\n\n{with_timm}\n\nWith transformers:\n\n{with_transformers}"
    if not code:
        return text
    return text + (
        "\n\nIts layers are not what a stock timm model can express, so the folder carries a small modelling file, "
        f"`{code[0]}`; `trust_remote_code=True` permits it. Where Knotwork is not installed, importing that file registers the "
        "model with timm. It imports timm, torch, transformers and the standard library only."
    )
