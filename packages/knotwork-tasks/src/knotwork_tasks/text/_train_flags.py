"""The flags of training a language model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from knotwork_tasks.text._flags import DATASETS
from knotwork_tasks.training import TrainFlags, parse_train_flags, train_parser

_DEFAULTS = {"dataset": "python-stdlib", "steps": 1000, "batch_size": 16, "learning_rate": 1e-3, "text_column": "text"}
_OF_THE_RUN = ("text_column", "streaming", "block_size")


@dataclass(frozen=True, kw_only=True)
class TextTrainFlags(TrainFlags):
    """Every setting of training a language model."""

    text_column: str
    streaming: bool | None
    tokenizer: str | None
    block_size: int | None
    trust_remote_code: bool


def parse_text_train_flags(program: str, description: str, arguments: Sequence[str] | None) -> TextTrainFlags:
    """The flags of a command line. Raises ValueError as ``parse_train_flags`` does."""
    parser = train_parser(program, description, DATASETS)
    add = parser.add_argument
    add("--text-column", type=str | None, help="the column that holds the text")
    add("--streaming", type=bool | None, help="true streams a Hub dataset instead of downloading it")
    add("--tokenizer", type=str | None, help="Hub name or local folder, where the model's folder or the run holds none")
    add("--block-size", type=int | None, help="tokens in a block; the longest that the model takes, up to 1024, by default")
    add("--trust-remote-code", action="store_true", help="run the code that a folder of model or teacher brings; Knotwork's "
        "own per-layer models need none")  # fmt: skip
    return parse_train_flags(parser, arguments, TextTrainFlags, _DEFAULTS, _OF_THE_RUN)
