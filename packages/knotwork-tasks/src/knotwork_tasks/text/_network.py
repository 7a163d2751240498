"""A language model from its folder: transformers' own classes and Knotwork's, without running code that the folder brings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from knotwork_spaces import check_finite, check_model_folder, check_size
from knotwork_spaces.gpt2 import PerLayerGPT2LMHeadModel
from knotwork_spaces.llama import PerLayerLlamaForCausalLM, PerLayerMistralForCausalLM, PerLayerQwen3ForCausalLM
from transformers import AutoConfig, AutoModelForCausalLM

_OWN: tuple[Any, ...] = (
    PerLayerGPT2LMHeadModel,
    PerLayerLlamaForCausalLM,
    PerLayerMistralForCausalLM,
    PerLayerQwen3ForCausalLM,
)
"""Classes whose code travels with a model. It is installed here, so the folder's copy need not be trusted."""


def load_language_model(folder: Path, *, weights: bool = True, trust_remote_code: bool = False) -> Any:
    """The model of a folder.

    Args:
        folder: what ``save_pretrained`` wrote, with safetensors.
        weights: whether to read its weights; else they are drawn anew from torch's global generator.
        trust_remote_code: whether code of the folder may run.

    Raises:
        ValueError: it is not a language model that can be loaded so, or has weights that are not finite; the message says why.
        OSError: a file cannot be read.
    """
    own = _own_class(str(check_model_folder(folder, weights=weights).get("model_type")))
    trust = {} if own else {"trust_remote_code": trust_remote_code}
    kind: Any = own or AutoModelForCausalLM
    try:
        config = (own.config_class if own else AutoConfig).from_pretrained(folder, **trust)
        with torch.device("meta"):
            check_size(folder, _drawn(own, config, trust), weights=weights)
        if not weights:
            return _drawn(own, config, trust)
        # Pickled weights are refused: reading them can run code.
        model, report = kind.from_pretrained(folder, use_safetensors=True, output_loading_info=True, **trust)
    except Exception as error:  # transformers, safetensors and each configuration have their own
        raise ValueError(f"{folder} cannot be loaded with transformers ({type(error).__name__}: {error})") from error
    wrong = {kind: sorted(map(str, report[kind]))[:3] for kind in ("missing_keys", "mismatched_keys") if report.get(kind)}
    if wrong:
        raise ValueError(f"the weights in {folder} do not fit its configuration: {wrong}")
    check_finite(model.state_dict(), folder)
    return model


def _drawn(own: Any | None, config: Any, trust: dict[str, Any]) -> Any:
    """The model with weights drawn anew."""
    return own._from_config(config) if own else AutoModelForCausalLM.from_config(config, **trust)


def _own_class(model_type: str) -> Any | None:
    return next((kind for kind in _OWN if kind.config_class.model_type == model_type), None)


def longest_block(model: Any) -> int | None:
    """How many tokens the model takes at most; None where its configuration does not say."""
    return getattr(model.config, "max_position_embeddings", None)
