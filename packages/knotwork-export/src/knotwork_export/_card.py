"""The model card: front matter for the Hub, and what a reader wants to know before loading the model."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from huggingface_hub import ModelCard, ModelCardData
from knotwork_ops import Architecture

from knotwork_export._provenance import Provenance
from knotwork_export._retold import LOADING, RESULTS, TRAINING

TAGS = ("knotwork", "neural-architecture-search", "weight-entanglement")


@dataclass(frozen=True)
class CardContent:
    """What a card says that only the kind of model knows.

    Attributes:
        name: the title.
        summary: the first sentence.
        library_name: the Hub's name of the library that loads the model.
        pipeline_tag: the Hub's name of the task.
        tags: beside Knotwork's own.
        software: distributions whose versions are told.
        parameters: how many the model has, counted.
        loading: how to load the model, in Markdown.
        sections: further ones by title, in Markdown.
        verified: whether export compared the folder with the model.
    """

    name: str
    summary: str
    library_name: str
    pipeline_tag: str
    tags: Sequence[str]
    software: Sequence[str]
    parameters: int
    loading: str
    sections: Mapping[str, str]
    verified: bool


def build_card(provenance: Provenance, content: CardContent) -> ModelCard:
    """The card of an exported model. License and language are left out: only whoever publishes the model knows them."""
    data = ModelCardData(library_name=content.library_name, pipeline_tag=content.pipeline_tag, tags=[*TAGS, *content.tags])
    sections = {
        "Architecture": _architecture(provenance.architecture),
        **content.sections,
        "Cost": table("measure", "value", _costs(provenance.cost, content.parameters)),
        "How it was found": table("setting", "value", _search(provenance, content.software)),
        TRAINING: table("training", "value", provenance.training) if provenance.training else "",
        RESULTS: _results(provenance),
        LOADING: content.loading + (_VERIFIED if content.verified else ""),
    }
    parts = [
        f"# {_cell(content.name)}",
        content.summary,
        *(f"## {title}\n\n{text}" for title, text in sections.items() if text),
    ]
    body = "\n\n".join(parts)
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n{body}\n")


def table(left: str, right: str, rows: Mapping[str, Any]) -> str:
    """A Markdown table of two columns."""
    return _table([left, right], [[key, value] for key, value in rows.items()])


def python(*lines: str) -> str:
    """A block of code."""
    return "\n".join(["```python", *lines, "```"])


_VERIFIED = (
    "\n\nWhen it was exported, this folder was loaded in a process that could not import Knotwork, and its logits were "
    "equal, bit for bit, to those of the model it was written from."
)


def _architecture(architecture: Mapping[str, Any]) -> str:
    values = architecture.as_dict() if isinstance(architecture, Architecture) else dict(architecture)
    values = {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
    return table("choice", "option", values) + "\n\nAs JSON:\n\n```json\n" + json.dumps(values, default=str) + "\n```"


def _costs(cost: Mapping[str, float], parameters: int) -> dict[str, float]:
    # What was computed is told only where it is not what was counted: no reader needs the same number twice.
    told = {key: value for key, value in cost.items() if key != "params" or value != parameters}
    return {"parameters": parameters, **told}


def _search(provenance: Provenance, software: Sequence[str]) -> dict[str, Any]:
    named = {"strategy": provenance.strategy, "dataset": provenance.dataset}
    return {
        **{key: value for key, value in named.items() if value},
        **provenance.settings,
        **{f"{key} version": value for key, value in (provenance.versions or _installed_versions(software)).items()},
    }


def _results(provenance: Provenance) -> str:
    """What it reaches and, after a training, what it reached before."""
    if not provenance.metrics:
        return ""
    if not provenance.before:
        return table("metric", "value", provenance.metrics)
    rows = [[name, provenance.before.get(name, ""), value] for name, value in provenance.metrics.items()]
    return _table(["metric", "before training", "after training"], rows)


def _table(headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [headings, ["---"] * len(headings), *([_cell(_number(value)) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _installed_versions(software: Sequence[str]) -> dict[str, str]:
    versions: dict[str, str] = {}
    for name in software:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ", ".join(map(_number, value)) if isinstance(value, list | tuple) else str(value)
    # Costs come as floats that are whole numbers.
    return f"{int(value):,}" if float(value).is_integer() else f"{value:.6g}"


def _cell(text: str) -> str:
    """Text that stays in its cell and is not taken for markup."""
    return " ".join(str(text).split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
