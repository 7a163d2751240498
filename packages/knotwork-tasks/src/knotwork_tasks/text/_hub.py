"""Text from a dataset on the Hugging Face Hub."""

import datasets
from datasets import DatasetDict, IterableDatasetDict

from knotwork_tasks._datasets import SourceError
from knotwork_tasks.text._splits import ACCEPTED, TextSplits, hold_out, text_only

_VALIDATION_SPLITS = ("validation", "test")


def hub_text(name: str, text_column: str, streaming: bool) -> TextSplits:
    """The splits of a Hub dataset: its own validation (else test) split, or documents held out of its train split.

    Raises:
        SourceError: it cannot be loaded, or has no train split or no such column.
    """
    try:
        loaded = datasets.load_dataset(name, streaming=streaming)
    except Exception as error:  # the Hub's client, the network and each file format have their own
        raise SourceError(
            f"{name!r} is not a local file or folder, and could not be loaded from the Hub "
            f"({type(error).__name__}: {error}); {ACCEPTED}"
        ) from error
    assert isinstance(loaded, DatasetDict | IterableDatasetDict)  # as no single split was asked for
    if "train" not in loaded:
        raise SourceError(f"{name!r} has no 'train' split; its splits are {sorted(map(str, loaded))}")
    train = text_only(loaded["train"], text_column, name)
    for split in _VALIDATION_SPLITS:
        if split in loaded:
            return TextSplits(train=train, validation=text_only(loaded[split], text_column, name))
    return hold_out(train, name)
