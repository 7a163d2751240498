"""A tokenizer trained on the text at hand, or one that exists already."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from knotwork_tasks._datasets import is_hub_name
from knotwork_tasks.text._splits import TextDataset, document_batches

END_OF_TEXT = "<|endoftext|>"
_TRAIN_SPEC = re.compile(r"train:([0-9]{1,7})")
_SMALLEST = 257  # every byte, and the end of a text
_LARGEST = 1_000_000
# The merges settle long before this; it keeps training to seconds on a corpus of any size.
_TRAINING_CHARACTERS = 32_000_000
_DOCUMENTS_A_BATCH = 256
_FILES = ("tokenizer.json", "vocab.*", "*.model", "*.tiktoken")
_ACCEPTED = "accepted are 'train:SIZE' such as 'train:4096', a local folder, or a Hub name such as 'gpt2'"


def load_tokenizer(spec: str, texts: TextDataset) -> PreTrainedTokenizerFast:
    """The tokenizer that `spec` names.

    Args:
        spec: `train:SIZE` trains a byte-level BPE (GPT-2's kind, with `<|endoftext|>` as its one special token) on the
            first 32 million characters of `texts`; the same text gives the same tokenizer. Its size is below SIZE when
            the text has too few distinct pairs: use `len(tokenizer)`. Else a local folder or a Hub name.
        texts: the training split; read only by `train:SIZE`.

    Raises:
        ValueError: a malformed spec, a size outside 257 to 1,000,000, a tokenizer that is not found, or one that is
            not a fast tokenizer or has no end-of-text token.
    """
    if not spec.startswith("train:"):
        return existing_tokenizer(spec)
    match = _TRAIN_SPEC.fullmatch(spec)
    if match is None:
        raise ValueError(f"{spec!r} is malformed; {_ACCEPTED}")
    size = int(match[1])
    if not _SMALLEST <= size <= _LARGEST:
        raise ValueError(f"{spec!r}: the vocabulary size must be from {_SMALLEST} to {_LARGEST}")
    return _trained(size, texts)


def _trained(size: int, texts: TextDataset) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    trainer = BpeTrainer(
        vocab_size=size, special_tokens=[END_OF_TEXT], initial_alphabet=ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(_training_text(texts), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
        clean_up_tokenization_spaces=False,
    )


def _training_text(texts: TextDataset) -> Iterator[list[str]]:
    left = _TRAINING_CHARACTERS
    for batch in document_batches(texts, _DOCUMENTS_A_BATCH):
        kept: list[str] = []
        for document in batch:
            if document and left:
                kept.append(document[:left])
                left -= len(kept[-1])
        yield kept
        if not left:
            return


def existing_tokenizer(spec: str) -> PreTrainedTokenizerFast:
    """A tokenizer of a local folder or of the Hub. Raises ValueError as ``load_tokenizer`` does."""
    path = os.path.expanduser(spec)
    if not os.path.isdir(path) and not is_hub_name(spec):
        raise ValueError(f"{spec!r} is not a folder here; {_ACCEPTED}")
    if os.path.isdir(path) and not any(any(Path(path).glob(pattern)) for pattern in _FILES):
        # From a model's configuration alone transformers makes up a tokenizer that knows no tokens.
        raise ValueError(f"no tokenizer could be loaded from {spec!r}: it holds none of {', '.join(_FILES)}; {_ACCEPTED}")
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    except Exception as error:  # the Hub's client, the network and each tokenizer class have their own
        raise ValueError(f"no tokenizer could be loaded from {spec!r} ({error}); {_ACCEPTED}") from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ValueError(f"{spec!r} is a {type(tokenizer).__name__}, not a fast tokenizer; {_ACCEPTED}")
    if tokenizer.eos_token_id is None:
        raise ValueError(f"{spec!r} has no end-of-text token (eos_token), which must stand between documents")
    return tokenizer
