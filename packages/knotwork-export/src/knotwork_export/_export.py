"""From a subnet to a folder: written aside, verified there, and only then put in its place."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from knotwork_export._causal_lm import CausalLM
from knotwork_export._classifier import Classifier
from knotwork_export._exportable import Exportable
from knotwork_export._preprocessing import Preprocessing
from knotwork_export._provenance import Provenance
from knotwork_export._retold import retold
from knotwork_export._verify import compare

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def export(
    model: nn.Module,
    folder: Path,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    provenance: Provenance | None = None,
    previous_card: str | None = None,
    reference_ids: Tensor | None = None,
    reference_logits: Tensor | None = None,
    verify: bool = True,
) -> Path:
    """Write a language model as a Hub-format folder, and prove in a fresh process without knotwork that it is the model.

    The folder holds ``config.json``, ``model.safetensors``, ``generation_config.json``, a model card, the tokenizer's files
    when there is one, and a per-layer model's own modelling file. It appears whole or not at all. The weights keep the model's
    precision; the given model stays where and as it is.

    Args:
        model: the plain upstream model, as a supernet's ``extract(architecture)`` returns it.
        folder: where to write; a folder that is there already must be empty.
        tokenizer: the tokenizer the model was trained with.
        provenance: what the card says about the search; without it the card describes the model alone.
        previous_card: of the folder that the model was trained from. It stays as it is, but for what the provenance says of
            that training and of what the model reaches now.
        reference_ids: (batch, tokens), what to compare on; fixed random ids by default.
        reference_logits: (batch, tokens, vocabulary), what the supernet computes for this architecture on these ids, in eval
            mode and without autocast.
        verify: False leaves the fresh process out, and the card says nothing of it.

    Returns:
        The folder.

    Raises:
        ExportError: the folder does not load alone, or does not compute what the model and the supernet do.
        FileExistsError: the folder is there and is not empty.
        ImportError: transformers is not installed.
        ValueError: a model, tokenizer or reference that does not fit.
    """
    causal_lm = CausalLM.of(model, tokenizer, reference_ids, reference_logits)
    return _deliver(causal_lm, Path(folder), provenance, previous_card, verify)


def export_classifier(
    model: nn.Module,
    folder: Path,
    *,
    timm_model: tuple[str, Mapping[str, Any]],
    preprocessing: Preprocessing,
    provenance: Provenance | None = None,
    previous_card: str | None = None,
    reference_images: Tensor | None = None,
    reference_logits: Tensor | None = None,
    verify: bool = True,
) -> Path:
    """Write an image classifier as a Hub-format folder, and prove in a fresh process without knotwork that it is the model.

    The folder holds ``config.json``, ``model.safetensors``, a model card, and a per-layer model's own modelling file. timm
    loads it as ``local-dir:FOLDER``, transformers as ``AutoModelForImageClassification`` and ``AutoImageProcessor``. It appears
    whole or not at all. The weights keep the model's precision; the given model stays where and as it is.

    Args:
        model: the plain timm ViT, as a supernet's ``extract(architecture)`` returns it.
        folder: where to write; a folder that is there already must be empty.
        timm_model: the name and ``model_args`` that timm builds this model from, as ``ViTSpace.timm_model(architecture)``
            returns them.
        preprocessing: how its images are prepared, and the names of its classes.
        provenance: what the card says about the search; without it the card describes the model alone.
        previous_card: of the folder that the model was trained from. It stays as it is, but for what the provenance says of
            that training and of what the model reaches now.
        reference_images: (batch, channels, height, width), what to compare on; fixed random images by default.
        reference_logits: (batch, classes), what the supernet computes for this architecture on these images, in eval mode and
            without autocast.
        verify: False leaves the fresh process out, and the card says nothing of it.

    Returns:
        The folder.

    Raises:
        ExportError: the folder does not load alone, or does not compute what the model and the supernet do.
        FileExistsError: the folder is there and is not empty.
        ImportError: timm is not installed.
        ValueError: a model, name, preprocessing or reference that does not fit.
    """
    classifier = Classifier.of(model, timm_model, preprocessing, reference_images, reference_logits)
    return _deliver(classifier, Path(folder), provenance, previous_card, verify)


def _deliver(model: Exportable, folder: Path, provenance: Provenance | None, previous_card: str | None, verify: bool) -> Path:
    target = folder.resolve()
    _check_free(target)
    # The nearest ancestor is on the file system the folder will be on, so putting it in place is one rename.
    place = next(parent for parent in target.parents if parent.is_dir())
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=place) as room:
        staged = Path(room) / target.name
        # Made by mkdir: what tempfile makes is closed to everyone else.
        staged.mkdir()
        model.write(staged)
        card = str(model.card(staged, provenance, verified=verify))
        text = card if previous_card is None else retold(previous_card, card)
        (staged / "README.md").write_text(text, encoding="utf-8")
        if verify:
            compare(staged, model)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            staged.rename(target)
        except OSError:
            _check_free(target)  # another process may have filled it meanwhile
            raise
    return folder


def _check_free(target: Path) -> None:
    if target.is_dir() and not any(target.iterdir()):
        return
    if target.exists():
        raise FileExistsError(f"{target} is there already: export writes a new folder, so name another or remove it")
