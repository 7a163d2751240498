"""The files of a transformers language model: weights, configuration and, for a model of its own class, its code."""

from __future__ import annotations

import ast
import copy
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from knotwork_export._errors import ExportError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

CODE_MAY_IMPORT = frozenset({"torch", "transformers"})
ATTENTION_ON_CPU = ("eager", "sdpa")


def plain_copy(model: nn.Module) -> PreTrainedModel:
    """A copy of the model on the CPU in eval mode, so that writing and comparing leave the given one untouched.

    Raises:
        ImportError: transformers is not installed.
        ValueError: not a transformers model that generates text.
    """
    try:
        from transformers import PreTrainedModel
    except ImportError as error:
        raise ImportError("exporting a language model needs transformers: pip install 'knotwork-export[gpt]'") from error
    if not isinstance(model, PreTrainedModel) or not model.can_generate():
        raise ValueError(
            f"the model is a {type(model).__name__}: expected a transformers model that generates text, "
            "such as GPT2Supernet.extract(architecture) returns"
        )
    plain = copy.deepcopy(model).eval()
    nn.Module.to(plain, "cpu")
    if plain.config._attn_implementation not in ATTENTION_ON_CPU:
        plain.set_attn_implementation("sdpa")
    return plain


def write_model(plain: PreTrainedModel, folder: Path, tokenizer: PreTrainedTokenizerBase | None) -> None:
    """Write configuration, weights, generation settings, the code of a per-layer model and the tokenizer into a folder.

    Args:
        plain: a copy of the model that may be changed, see ``plain_copy``.
        folder: an empty folder.
        tokenizer: written when given.

    Raises:
        ExportError: code that would travel with the model imports more than torch and transformers.
        ValueError: a tokenizer that cannot be saved, or with more tokens than the model knows.
    """
    check_tokenizer(plain, tokenizer)
    for part, auto_class in ((plain, "AutoModelForCausalLM"), (plain.config, "AutoConfig")):
        # Registered classes have save_pretrained copy their file and name it in config.json's auto_map.
        if not _is_stock(type(part)) and part._auto_class is None:
            type(part).register_for_auto_class(auto_class)
    plain.generation_config = _generation_config(plain)
    # Sharded weights would need an index; one file is what a small model has.
    plain.save_pretrained(folder, max_shard_size="1000TB")
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    for path in sorted(folder.glob("*.py")):
        _check_code(path)


def check_tokenizer(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None) -> None:
    """Raise ValueError for a tokenizer that is not transformers' own kind, or knows more tokens than the model."""
    if tokenizer is None:
        return
    if not hasattr(tokenizer, "save_pretrained"):
        raise ValueError(
            f"the tokenizer is a {type(tokenizer).__name__}: expected one of transformers; "
            "wrap a tokenizers.Tokenizer in PreTrainedTokenizerFast(tokenizer_object=...)"
        )
    if len(tokenizer) > model.config.vocab_size:
        raise ValueError(
            f"the tokenizer has {len(tokenizer)} tokens, but the model's vocabulary {model.config.vocab_size}: "
            "export the tokenizer that the model was trained with"
        )


def has_custom_code(folder: Path) -> bool:
    """Whether the folder's configuration names code of its own (``auto_map``), which needs ``trust_remote_code=True``."""
    return bool(_auto_map(folder))


def code_files(folder: Path) -> list[str]:
    """Names of the Python files that the folder's configuration refers to."""
    modules = {str(reference).split(".")[0] for reference in _auto_map(folder).values()}
    return sorted(f"{module}.py" for module in modules if module.isidentifier())


def upstream_type(model: PreTrainedModel) -> str:
    """The upstream family's name, also for a class derived from it: ``gpt2``."""
    stock = (getattr(kind, "model_type", "") for kind in type(model.config).__mro__ if _is_stock(kind))
    return next(filter(None, stock), str(model.config.model_type))


def _auto_map(folder: Path) -> dict[str, Any]:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config.get("auto_map") or {} if isinstance(config, dict) else {}


def _is_stock(kind: type) -> bool:
    # Not a prefix: code that came with a model lives in transformers_modules.
    return kind.__module__.split(".")[0] == "transformers"


def _generation_config(plain: PreTrainedModel) -> Any:
    from transformers import GenerationConfig

    config = plain.config
    eos, pad = config.eos_token_id, getattr(config, "pad_token_id", None)
    # Without a padding token generate() takes the end of text, and says so each time.
    return GenerationConfig(bos_token_id=config.bos_token_id, eos_token_id=eos, pad_token_id=eos if pad is None else pad)


def _check_code(path: Path) -> None:
    for name in _imported(path):
        if name not in CODE_MAY_IMPORT and name not in sys.stdlib_module_names:
            raise ExportError(
                f"{path.name} travels with the model but imports {name}: it may import torch, transformers and the standard "
                "library only, and must be one file"
            )


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=path.name)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level or (node.module or "").split(".")[0]
