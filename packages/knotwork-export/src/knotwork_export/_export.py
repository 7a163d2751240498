"""From a subnet to a folder: written aside, verified there, and only then put in its place."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from knotwork_export._card import model_card
from knotwork_export._causal_lm import check_tokenizer, has_custom_code, plain_copy, upstream_type, write_model
from knotwork_export._provenance import Provenance
from knotwork_export._reference import build_reference
from knotwork_export._verify import compare

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def export(
    model: nn.Module,
    folder: Path,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    provenance: Provenance | None = None,
    reference_ids: Tensor | None = None,
    reference_logits: Tensor | None = None,
    verify: bool = True,
) -> Path:
    """Write a model as a Hub-format folder, and prove in a fresh process without knotwork that the folder is the model.

    The folder holds ``config.json``, ``model.safetensors``, ``generation_config.json``, a model card, the tokenizer's files
    when there is one, and a per-layer model's own modelling file. It appears whole or not at all. The weights keep the model's
    precision; the given model stays where and as it is.

    Args:
        model: the plain upstream model, as a supernet's ``extract(architecture)`` returns it.
        folder: where to write; a folder that is there already must be empty.
        tokenizer: the tokenizer the model was trained with.
        provenance: what the card says about the search; without it the card describes the model alone.
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
    folder = Path(folder)
    target = folder.resolve()
    _check_free(target)
    plain = plain_copy(model)
    check_tokenizer(plain, tokenizer)
    reference = build_reference(plain, reference_ids, reference_logits)
    # The nearest ancestor is on the file system the folder will be on, so putting it in place is one rename.
    place = next(parent for parent in target.parents if parent.is_dir())
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=place) as room:
        staged = Path(room) / target.name
        # Made by mkdir: what tempfile makes is closed to everyone else.
        staged.mkdir()
        write_model(plain, staged, tokenizer)
        _write_card(plain, staged, provenance, tokenizer=tokenizer is not None, verified=verify)
        if verify:
            compare(staged, plain, reference, tokenizer)
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


def _write_card(
    plain: PreTrainedModel, folder: Path, provenance: Provenance | None, *, tokenizer: bool, verified: bool
) -> None:
    card = model_card(
        provenance or Provenance(_sizes(plain)),
        name=folder.name,
        model_type=upstream_type(plain),
        parameters=sum(parameter.numel() for parameter in plain.parameters()),
        custom_code=has_custom_code(folder),
        tokenizer=tokenizer,
        verified=verified,
    )
    (folder / "README.md").write_text(str(card), encoding="utf-8")


def _sizes(plain: PreTrainedModel) -> dict[str, Any]:
    """The architecture as the configuration tells it, for a model whose search is not known."""
    names = ("n_embd", "n_layer", "n_head", "n_inner", "heads_per_layer", "inner_per_layer")
    config = plain.config.to_dict()
    return {name: config[name] for name in names if config.get(name) is not None}
