"""The flags of a search on text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from knotwork_spaces import check_model_folder
from transformers import AutoConfig

from knotwork_tasks._flags import SearchFlags, parse_search_flags, search_parser

FAMILIES = ("gpt2", "llama")
_DEFAULT_SPACE = "gpt-nano"
_PRETRAINED_SPACES = {"gpt2": "gpt2-pretrained"} | dict.fromkeys(("llama", "mistral", "qwen3"), "llama-pretrained")
"""By transformers' model type, the preset around a checkpoint."""
DATASETS = "Hub name, .txt/.jsonl/.parquet file, folder with train.txt and validation.txt, or python-stdlib (the default)"


@dataclass(frozen=True, kw_only=True)
class TextFlags(SearchFlags):
    """Every setting of a search on text."""

    text_column: str
    streaming: bool
    tokenizer: str
    block_size: int | None


def parse_text_flags(program: str, description: str, arguments: Sequence[str] | None) -> TextFlags:
    """The flags of a command line. Raises ValueError as ``parse_search_flags`` does."""
    parser = search_parser(program, description, FAMILIES, _DEFAULT_SPACE, DATASETS)
    add = parser.add_argument
    add("--text-column", type=str, default="text", help="the column that holds the text")
    add("--streaming", action="store_true", help="read the dataset as it is needed, not all of it before")
    add("--tokenizer", type=str | None, help="Hub name, local folder, or train:SIZE for a byte-level BPE")
    add("--block-size", type=int | None, help="tokens in a block; the space's own by default")
    defaults = {"space": _DEFAULT_SPACE, "dataset": "python-stdlib", "tokenizer": "train:4096"}
    return parse_search_flags(parser, arguments, TextFlags, defaults, _around)


def _around(checkpoint: str) -> dict[str, str]:
    """A checkpoint's own tokenizer, and the space around it."""
    try:
        if Path(checkpoint).is_dir():
            check_model_folder(Path(checkpoint))
        kind = AutoConfig.from_pretrained(checkpoint, trust_remote_code=False).model_type
    except Exception as error:  # the Hub's client, the network and transformers have their own
        raise ValueError(f"--init-from {checkpoint}: no checkpoint could be read there: {error}") from error
    if kind not in _PRETRAINED_SPACES:
        raise ValueError(f"--init-from {checkpoint} is a {kind!r}: known are {list(_PRETRAINED_SPACES)}")
    return {"space": _PRETRAINED_SPACES[kind], "tokenizer": checkpoint}
