"""The flags of a search on text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from knotwork_tasks._flags import SearchFlags, parse_search_flags, search_parser

FAMILIES = ("gpt2", "llama")
_DATASETS = "Hub name, .txt/.jsonl/.parquet file, folder with train.txt and validation.txt, or python-stdlib (the default)"


@dataclass(frozen=True, kw_only=True)
class TextFlags(SearchFlags):
    """Every setting of a search on text."""

    text_column: str
    streaming: bool
    tokenizer: str
    block_size: int | None


def parse_text_flags(program: str, description: str, arguments: Sequence[str] | None) -> TextFlags:
    """The flags of a command line. Raises ValueError as ``parse_search_flags`` does."""
    parser = search_parser(program, description, FAMILIES, "gpt-nano", _DATASETS)
    add = parser.add_argument
    add("--text-column", type=str, default="text", help="the column that holds the text")
    add("--streaming", action="store_true", help="stream a Hub dataset instead of downloading it")
    add("--tokenizer", type=str | None, help="Hub name, local folder, or train:SIZE for a byte-level BPE")
    add("--block-size", type=int | None, help="tokens in a block; the space's own by default")
    defaults = {"dataset": "python-stdlib", "tokenizer": "train:4096"}
    return parse_search_flags(parser, arguments, TextFlags, defaults)
