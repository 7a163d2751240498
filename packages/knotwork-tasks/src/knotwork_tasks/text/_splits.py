"""The training and validation text of a source, and how one is cut from the other."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from datasets import Dataset, IterableDataset

from knotwork_tasks._datasets import SourceError

TextDataset = Dataset | IterableDataset

ACCEPTED = (
    "accepted are 'python-stdlib', a .txt, .jsonl or .parquet file, a folder with train.txt and validation.txt, "
    "or a Hub dataset such as 'roneneldan/TinyStories'"
)
HELD_OUT_ONE_IN = 20
# A stream's length is unknown; this many of its first documents are counted, and one in twenty of them is held out.
_STREAM_DOCUMENTS_COUNTED = 10_000
_DOCUMENTS_PEEKED = 100


@dataclass(frozen=True)
class TextSplits:
    """Two datasets with the single column `text`, one document a row; no document is in both."""

    train: TextDataset
    validation: TextDataset


def text_only(texts: TextDataset, text_column: str, source: str) -> TextDataset:
    """`texts` with `text_column` as its only column, named `text`.

    Raises:
        SourceError: there is no such column, it does not hold text, or the first documents are all blank.
    """
    columns = texts.column_names
    if columns is None:  # a stream that does not declare its columns
        columns = list(next(iter(texts), {}))
    if not columns:
        raise SourceError(f"{source!r} is empty: it holds no documents")
    if text_column not in columns:
        raise SourceError(f"{source!r} has no column {text_column!r}; its columns are {sorted(columns)}")
    texts = texts.select_columns([text_column])
    if text_column != "text":
        texts = texts.rename_column(text_column, "text")
    for documents in document_batches(first_documents(texts, _DOCUMENTS_PEEKED), _DOCUMENTS_PEEKED):
        for document in documents:
            if document is not None and not isinstance(document, str):
                raise SourceError(f"{source!r}: column {text_column!r} holds {type(document).__name__}, not text")
    return texts


def require_text(texts: TextDataset, source: str, split: str) -> None:
    """Raise SourceError when no document has a character that is not white space (a stream: none of the first 100)."""
    looked_at = texts if isinstance(texts, Dataset) else texts.take(_DOCUMENTS_PEEKED)
    documents = (document for batch in document_batches(looked_at, _DOCUMENTS_PEEKED) for document in batch)
    if not any(document and not document.isspace() for document in documents):
        raise SourceError(f"{source!r} is empty: its {split} split holds no text")


def hold_out(texts: TextDataset, source: str) -> TextSplits:
    """Hold out one document in twenty, at least one: the last ones, or a stream's first ones (500 at most).

    Raises:
        SourceError: there are fewer than two documents.
    """
    count = len(texts) if isinstance(texts, Dataset) else sum(1 for _ in texts.take(_STREAM_DOCUMENTS_COUNTED))
    if count < 2:
        raise SourceError(f"{source!r} holds {count} document(s): at least 2 are needed, one of them for validation")
    held_out = max(1, count // HELD_OUT_ONE_IN)
    if isinstance(texts, IterableDataset):
        return TextSplits(train=texts.skip(held_out), validation=texts.take(held_out))
    return TextSplits(train=texts.select(range(count - held_out)), validation=texts.select(range(count - held_out, count)))


def first_documents(texts: TextDataset, count: int) -> TextDataset:
    """The first ``count`` documents, or all where there are fewer."""
    # Older datasets, to 5.0 at least, do not take more than there is.
    return texts.take(min(count, len(texts)) if isinstance(texts, Dataset) else count)


def document_batches(texts: TextDataset, size: int) -> Iterator[list[str | None]]:
    """The documents in order, `size` at a time; None where a row of a file or Hub dataset has no text."""
    for batch in texts.iter(batch_size=size):
        yield cast(dict[str, list[str | None]], batch)["text"]
