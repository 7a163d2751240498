"""Documents to blocks of tokens: tokenised, joined by the end-of-text token, cut into equal lengths."""

import re
from array import array
from collections.abc import Iterator
from itertools import islice
from typing import cast, overload

import torch
from datasets import Dataset, IterableDataset
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from knotwork_tasks.text._splits import TextDataset, document_batches, first_documents

# A tokenizer keeps about 100 bytes a token until its call returns, so a call gets 8 MB of text at most, and one long
# document is tokenised in pieces. No byte-level pre-tokenizer has a token with both a letter and the line end after
# it, so between these two a text may be cut without changing its tokens.
_PIECES_A_CALL = 64
_PIECE_CHARACTERS = 2**17
_LETTER_AND_LINE_END = re.compile(r"[^\W\d_]\n")


class TokenBlocks(torch.utils.data.Dataset[dict[str, Tensor]]):
    """Blocks of tokens held in memory, as int32; item `i` is `{"input_ids": LongTensor (block_size,)}`."""

    def __init__(self, blocks: Tensor) -> None:
        """Hold `blocks`: int32 (number of blocks, block_size)."""
        self.blocks = blocks

    def __len__(self) -> int:
        return len(self.blocks)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"input_ids": self.blocks[index].long()}


@overload
def token_blocks(texts: Dataset, tokenizer: PreTrainedTokenizerFast, block_size: int) -> TokenBlocks: ...


@overload
def token_blocks(texts: IterableDataset, tokenizer: PreTrainedTokenizerFast, block_size: int) -> IterableDataset: ...


def token_blocks(texts: TextDataset, tokenizer: PreTrainedTokenizerFast, block_size: int) -> TokenBlocks | IterableDataset:
    """The documents, joined by the end-of-text token and cut into blocks; the remainder after the last is dropped.

    Empty documents are skipped and the tokenizer adds nothing of its own. Each item is
    `{"input_ids": LongTensor (block_size,)}`. Streamed text gives the same blocks in the same order, tokenised as they
    are read; that stream has one shard, so that shuffling it never changes what a block holds.

    Raises:
        ValueError: `block_size` is not positive, the tokenizer has no end-of-text token, or there are fewer tokens
            than one block holds.
    """
    if block_size < 1:
        raise ValueError(f"block_size must be at least 1, got {block_size}")
    if isinstance(texts, IterableDataset):
        return _streamed_blocks(texts, tokenizer, block_size)
    tokens = array("i")
    for ids in _token_runs(texts, tokenizer):
        tokens.extend(ids)
    count = len(tokens) // block_size
    if count == 0:
        raise _too_few(len(tokens), block_size)
    held = torch.frombuffer(tokens, dtype=torch.int32)
    return TokenBlocks(held[: count * block_size].view(count, block_size))


def bytes_per_token(texts: TextDataset, tokenizer: PreTrainedTokenizerFast, max_documents: int = 1000) -> float:
    """UTF-8 bytes of text per token, over the first `max_documents` documents.

    The end-of-text tokens between documents count as tokens, for a model's mean loss runs over them too. Bits per byte
    are `loss / log(2) / bytes_per_token`.

    Raises:
        ValueError: these documents hold no text.
    """
    first = first_documents(texts, max_documents)
    batches = document_batches(first, _PIECES_A_CALL)
    size = sum(len(document.encode()) for batch in batches for document in batch if document)
    tokens = sum(len(ids) for ids in _token_runs(first, tokenizer))
    if tokens == 0:
        raise ValueError(f"the first {max_documents} documents hold no text, so there are no bytes per token")
    return size / tokens


def _streamed_blocks(texts: IterableDataset, tokenizer: PreTrainedTokenizerFast, block_size: int) -> IterableDataset:
    arguments = {"texts": texts, "tokenizer": tokenizer, "block_size": block_size}
    if next(_cut_stream(**arguments), None) is None:
        raise _too_few(sum(len(ids) for ids in _token_runs(texts, tokenizer)), block_size)
    # It yields tensors already: with_format("torch") would take each through Arrow, which costs 0.7 ms a block.
    return IterableDataset.from_generator(_cut_stream, gen_kwargs=arguments)


def _cut_stream(texts: IterableDataset, tokenizer: PreTrainedTokenizerFast, block_size: int) -> Iterator[dict[str, Tensor]]:
    waiting: list[int] = []
    for ids in _token_runs(texts, tokenizer):
        waiting.extend(ids)
        whole = len(waiting) - len(waiting) % block_size
        for start in range(0, whole, block_size):
            yield {"input_ids": torch.tensor(waiting[start : start + block_size])}
        del waiting[:whole]


def _token_runs(texts: TextDataset, tokenizer: PreTrainedTokenizerFast) -> Iterator[list[int]]:
    """The whole sequence of tokens, in runs of any length."""
    end_of_text = cast(int | None, tokenizer.eos_token_id)
    if end_of_text is None:
        raise ValueError(f"the tokenizer {tokenizer.name_or_path!r} has no end-of-text token (eos_token)")
    pieces = _pieces(texts)
    first = True
    while batch := list(islice(pieces, _PIECES_A_CALL)):
        encoded = tokenizer([piece for piece, _ in batch], add_special_tokens=False, return_attention_mask=False, verbose=False)
        piece_ids = cast(list[list[int]], encoded["input_ids"])
        for ids, (_, begins_document) in zip(piece_ids, batch, strict=True):
            if begins_document and not first:
                yield [end_of_text]
            yield ids
            first = False


def _pieces(texts: TextDataset) -> Iterator[tuple[str, bool]]:
    """Each document that is not empty, long ones in pieces; and whether the piece begins a document."""
    for batch in document_batches(texts, _PIECES_A_CALL):
        for document in batch:
            start = 0
            while document and start < len(document):
                end = _piece_end(document, start)
                yield document[start:end], start == 0
                start = end


def _piece_end(document: str, start: int) -> int:
    if len(document) - start <= _PIECE_CHARACTERS:
        return len(document)
    match = _LETTER_AND_LINE_END.search(document, start + _PIECE_CHARACTERS)
    return len(document) if match is None else match.end() - 1


def _too_few(tokens: int, block_size: int) -> ValueError:
    return ValueError(
        f"the text has {tokens} tokens, fewer than one block of block_size {block_size}: give more text or a smaller block_size"
    )
