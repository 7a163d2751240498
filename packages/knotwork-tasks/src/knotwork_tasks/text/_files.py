"""Text from local files: one .txt, .jsonl or .parquet, or a folder with train.txt and validation.txt."""

import glob
import re
from codecs import BOM_UTF8
from pathlib import Path

import datasets
from datasets import Dataset, IterableDataset

from knotwork_tasks._datasets import SourceError
from knotwork_tasks.text._splits import (
    ACCEPTED,
    HELD_OUT_ONE_IN,
    TextDataset,
    TextSplits,
    document_batches,
    hold_out,
    text_only,
)

_BUILDERS = {".jsonl": "json", ".parquet": "parquet"}
FILE_SUFFIXES = (".txt", *_BUILDERS)
_ROWS_A_READ = 1000
_MOST_NESTED = 200
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_NULL_ROW = re.compile(rb"[\]}]\s*null")
_BRACKET = re.compile(rb"[\[\]{}]")


def local_text(path: Path, text_column: str, streaming: bool) -> TextSplits:
    """The splits of an existing file or folder.

    Raises:
        SourceError: another kind of file, or a folder without the two files.
        Exception: whatever the file's own reader raises when the file is malformed.
    """
    if path.is_dir():
        return _folder(path)
    if path.suffix == ".txt":
        text = _read_text(path)
        cut = _cut(text)
        return TextSplits(train=_one_document(text[:cut]), validation=_one_document(text[cut:]))
    if path.suffix in _BUILDERS:
        return hold_out(_table(path, text_column, streaming), str(path))
    raise SourceError(f"{str(path)!r} is neither a folder nor of a known kind; {ACCEPTED}")


def _folder(path: Path) -> TextSplits:
    missing = [name for name in ("train.txt", "validation.txt") if not (path / name).is_file()]
    if missing:
        raise SourceError(
            f"the folder {str(path)!r} lacks {' and '.join(missing)}; a folder must hold train.txt and validation.txt"
        )
    return TextSplits(
        train=_one_document(_read_text(path / "train.txt")),
        validation=_one_document(_read_text(path / "validation.txt")),
    )


def _table(path: Path, text_column: str, streaming: bool) -> TextDataset:
    source = str(path)
    if path.stat().st_size == 0:
        raise SourceError(f"{source!r} is empty: it holds no documents")
    if path.suffix == ".jsonl":
        _check_lines(path)
    # Streamed even when all of it is wanted: that reads the file where it is, without a second copy in the cache.
    stream = datasets.load_dataset(_BUILDERS[path.suffix], data_files=glob.escape(source), split="train", streaming=True)
    assert isinstance(stream, IterableDataset)
    texts = text_only(stream, text_column, source)
    if streaming:
        return texts
    batches = document_batches(texts, _ROWS_A_READ)
    return Dataset.from_dict({"text": [document for batch in batches for document in batch]})


def _check_lines(path: Path) -> None:
    """Raise SourceError for JSON with which Arrow's reader ends the process: nested very deeply, or null in a row's place."""
    depth = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if depth == 0 and line[:1] == b"{" and line.rstrip()[-1:] == b"}" and len(_BRACKET.findall(line)) == 2:
                continue  # a flat object, as nearly all lines are
            bare = _STRING.sub(b"", line.removeprefix(BOM_UTF8))
            if (depth == 0 and bare.lstrip().startswith(b"null")) or _NULL_ROW.search(bare):
                raise SourceError(f"{str(path)!r} cannot be read: line {number} is null, where an object should be")
            for bracket in _BRACKET.findall(bare):
                depth = depth + 1 if bracket in b"[{" else max(0, depth - 1)
                if depth > _MOST_NESTED:
                    raise SourceError(f"{str(path)!r} cannot be read: line {number} is nested more than {_MOST_NESTED} deep")


def _one_document(text: str) -> Dataset:
    return Dataset.from_dict({"text": [text]})


def _read_text(path: Path) -> str:
    with path.open(encoding="utf-8-sig", newline="") as file:  # newline="": the bytes counted are the file's own
        return file.read()


def _cut(text: str) -> int:
    """Where the last twentieth begins: after a line's end where the second half has one, else wherever it falls."""
    target = len(text) - len(text) // HELD_OUT_ONE_IN
    line_end = text.rfind("\n", max(0, len(text) // 2 - 1), min(target, len(text) - 1))
    return target if line_end < 0 else line_end + 1
