"""The model card: front matter for the Hub, and what a reader wants to know before loading the model."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping
from typing import Any

from huggingface_hub import ModelCard, ModelCardData
from knotwork_ops import Architecture

from knotwork_export._provenance import Provenance

TAGS = ["knotwork", "neural-architecture-search", "weight-entanglement"]
SOFTWARE = ("knotwork-export", "torch", "transformers")


def model_card(
    provenance: Provenance,
    *,
    name: str,
    model_type: str,
    parameters: int,
    custom_code: bool = False,
    tokenizer: bool = True,
    verified: bool = False,
) -> ModelCard:
    """The card of an exported model. License and language are left out: only whoever publishes the model knows them.

    Args:
        provenance: the architecture, its cost, and how it was found.
        name: the title, and the folder in the example.
        model_type: the upstream family, which becomes a tag: ``gpt2``.
        parameters: how many parameters the model has, counted.
        custom_code: whether loading needs ``trust_remote_code=True``.
        tokenizer: whether tokenizer files are there.
        verified: whether export compared the folder with the model.

    Returns:
        The card; ``str(card)`` is its text.
    """
    data = ModelCardData(library_name="transformers", pipeline_tag="text-generation", tags=[*TAGS, model_type])
    sections = [
        f"# {_cell(name)}",
        f"A `{model_type}` language model whose architecture was found inside a weight-entangled supernet with Knotwork.",
        "## Architecture\n\n" + _architecture(provenance.architecture),
        "## Cost\n\n" + _table("measure", "value", _costs(provenance.cost, parameters)),
        "## How it was found\n\n" + _table("setting", "value", _search(provenance)),
        "## Results\n\n" + _table("metric", "value", provenance.metrics) if provenance.metrics else "",
        "## Loading it\n\n" + _loading(name, custom_code, tokenizer, verified),
    ]
    body = "\n\n".join(section for section in sections if section)
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n{body}\n")


def _architecture(architecture: Mapping[str, Any]) -> str:
    values = architecture.as_dict() if isinstance(architecture, Architecture) else dict(architecture)
    values = {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
    return _table("choice", "option", values) + "\n\nAs JSON:\n\n```json\n" + json.dumps(values, default=str) + "\n```"


def _costs(cost: Mapping[str, float], parameters: int) -> dict[str, float]:
    # What was computed is told only where it is not what was counted: no reader needs the same number twice.
    told = {key: value for key, value in cost.items() if key != "params" or value != parameters}
    return {"parameters": parameters, **told}


def _search(provenance: Provenance) -> dict[str, Any]:
    named = {"strategy": provenance.strategy, "dataset": provenance.dataset}
    return {
        **{key: value for key, value in named.items() if value},
        **provenance.settings,
        **{f"{key} version": value for key, value in (provenance.versions or _installed_versions()).items()},
    }


def _installed_versions() -> dict[str, str]:
    versions: dict[str, str] = {}
    for name in SOFTWARE:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _loading(name: str, custom_code: bool, tokenizer: bool, verified: bool) -> str:
    trust = ", trust_remote_code=True" if custom_code else ""
    names = "AutoModelForCausalLM, AutoTokenizer" if tokenizer else "AutoModelForCausalLM"
    lines = [
        "```python",
        f"from transformers import {names}",
        "",
        f"folder = {json.dumps(name, ensure_ascii=False)}  # this folder's path, or USER/NAME on the Hub",
        f"model = AutoModelForCausalLM.from_pretrained(folder{trust})",
    ]
    if tokenizer:
        lines += [
            f"tokenizer = AutoTokenizer.from_pretrained(folder{trust})",
            'prompt = tokenizer("Once upon a time", return_tensors="pt")',
            "print(tokenizer.decode(model.generate(**prompt, max_new_tokens=20)[0]))",
        ]
    text = "\n".join([*lines, "```"])
    if custom_code:
        text += (
            "\n\nIts layers differ in size, which the stock class cannot express, so the folder carries a small modelling "
            "file; `trust_remote_code=True` permits it. It imports torch, transformers and the standard library only."
        )
    if verified:
        text += (
            "\n\nWhen it was exported, this folder was loaded in a process that could not import Knotwork, and its logits were "
            "equal, bit for bit, to those of the model it was written from."
        )
    return text


def _table(left: str, right: str, rows: Mapping[str, Any]) -> str:
    lines = [f"| {left} | {right} |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| {_cell(key)} | {_cell(_number(value))} |" for key, value in rows.items())])


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ", ".join(map(_number, value)) if isinstance(value, list | tuple) else str(value)
    # Costs come as floats that are whole numbers.
    return f"{int(value):,}" if float(value).is_integer() else f"{value:.6g}"


def _cell(text: str) -> str:
    """Text that stays in its cell and is not taken for markup."""
    return " ".join(str(text).split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
