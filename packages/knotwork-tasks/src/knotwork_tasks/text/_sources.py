"""From the name of a dataset to its training and validation text."""

import os
from pathlib import Path

from datasets import Dataset, IterableDataset

from knotwork_tasks._datasets import SourceError, is_hub_name
from knotwork_tasks.text._files import FILE_SUFFIXES, local_text
from knotwork_tasks.text._hub import hub_text
from knotwork_tasks.text._splits import ACCEPTED, TextDataset, TextSplits, require_text
from knotwork_tasks.text._stdlib import python_stdlib

_SHUFFLE_BUFFER = 1000


def load_text(
    dataset: str = "python-stdlib", *, text_column: str = "text", streaming: bool = False, seed: int = 0
) -> TextSplits:
    """The training and validation text of a dataset, one column `text`, one document a row.

    Args:
        dataset: `python-stdlib` (this interpreter's own source files; about 5% of the files are for validation, chosen
            by their paths); a `.txt` file (one document, its last 5% for validation), a `.jsonl` or `.parquet` file
            (the last 5% of the documents); a folder with `train.txt` and `validation.txt`; or a Hub name (its
            `validation` split, else `test`, else the last 5% of `train`). A streamed file or Hub dataset without a
            validation split holds out its first documents instead: 5% of the first 10,000.
        text_column: the column to read, where there are several.
        streaming: iterable datasets, read as they are needed; for text larger than memory or disk.
        seed: draws the order of the training documents (a stream is shuffled within a buffer). It does not change
            which documents are for validation. Keep it fixed over the runs of a comparison.

    Raises:
        ValueError: the dataset is not found, cannot be read, holds no text, or has no such column.
    """
    try:
        splits = _load(dataset, text_column, streaming)
        for split, texts in (("train", splits.train), ("validation", splits.validation)):
            require_text(texts, dataset, split)
    except SourceError:
        raise
    except Exception as error:  # pyarrow, json, datasets and the file system each have their own
        raise SourceError(f"{dataset!r} cannot be read: {error}") from error
    if streaming:
        splits = TextSplits(train=_streamed(splits.train), validation=_streamed(splits.validation))
    return TextSplits(train=_shuffled(splits.train, seed), validation=splits.validation)


def _load(dataset: str, text_column: str, streaming: bool) -> TextSplits:
    if dataset == "python-stdlib":
        return python_stdlib()
    path = os.path.expanduser(dataset)
    if os.path.exists(path):  # unlike Path.exists, no name makes it raise
        return local_text(Path(path), text_column, streaming)
    if is_hub_name(dataset) and not dataset.endswith(FILE_SUFFIXES):
        return hub_text(dataset, text_column, streaming)
    raise SourceError(f"{dataset!r} does not exist; {ACCEPTED}")


def _streamed(texts: TextDataset) -> IterableDataset:
    return texts.to_iterable_dataset() if isinstance(texts, Dataset) else texts


def _shuffled(texts: TextDataset, seed: int) -> TextDataset:
    if isinstance(texts, Dataset):
        return texts.shuffle(seed=seed, keep_in_memory=True)  # the order of the rows, not the text, is kept in memory
    return texts.shuffle(seed=seed, buffer_size=_SHUFFLE_BUFFER)
