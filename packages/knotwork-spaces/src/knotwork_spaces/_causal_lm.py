"""A language model's checkpoint, read by transformers whatever the family."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig

from knotwork_spaces._model_folder import check_finite, check_model_folder, check_size


def load_causal_lm(model_classes: Sequence[Any], name_or_folder: str) -> Any:
    """A checkpoint in float32, every weight of it and none besides; from safetensors alone.

    Args:
        model_classes: of transformers; the one is taken that the checkpoint is of.
        name_or_folder: a folder, or a name on the Hub.

    Raises:
        ValueError: what cannot be read, is another kind of model, or has missing, unexpected or misshapen weights, or some that
            are not finite; or a folder that is not what it says.
    """
    local = Path(name_or_folder).is_dir()
    try:
        if local:
            check_model_folder(Path(name_or_folder))
        config = AutoConfig.from_pretrained(name_or_folder, trust_remote_code=False)
        kind = config.model_type
        known = {model_class.config_class.model_type: model_class for model_class in model_classes}
        if kind not in known:
            raise ValueError(f"it is a model of the type {kind!r}, not {' or '.join(map(repr, known))}")
        if local:
            with torch.device("meta"):
                check_size(Path(name_or_folder), known[kind](config))
        options = {"dtype": torch.float32, "output_loading_info": True}
        # Misshapen weights are listed below; transformers would name them in its log alone.
        model, loading = known[kind].from_pretrained(
            name_or_folder, use_safetensors=True, ignore_mismatched_sizes=True, **options
        )
    except Exception as error:  # the Hub's client, the network, safetensors and transformers have their own
        raise ValueError(f"no checkpoint could be loaded from {name_or_folder!r}: {error}") from error
    for what in ("missing", "unexpected", "mismatched"):
        names = sorted(str(key if isinstance(key, str) else key[0]) for key in loading[f"{what}_keys"])
        if names:
            raise ValueError(f"the checkpoint {name_or_folder!r} has {what} weights: {', '.join(names)}")
    check_finite(model.state_dict(), name_or_folder)
    return model
