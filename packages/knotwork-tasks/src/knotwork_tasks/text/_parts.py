"""The two disjoint parts of the training blocks: one for the weights, one for the architecture parameters."""

from typing import overload

from datasets import IterableDataset

from knotwork_tasks._datasets import count_for_weights
from knotwork_tasks.text._blocks import TokenBlocks

_PERIOD = 100


@overload
def split_blocks(blocks: TokenBlocks, train_portion: float) -> tuple[TokenBlocks, TokenBlocks]: ...


@overload
def split_blocks(blocks: IterableDataset, train_portion: float) -> tuple[IterableDataset, IterableDataset]: ...


def split_blocks(
    blocks: TokenBlocks | IterableDataset, train_portion: float
) -> tuple[TokenBlocks, TokenBlocks] | tuple[IterableDataset, IterableDataset]:
    """The blocks for the weights, about `train_portion` of them, and the rest, for the architecture parameters.

    Blocks in memory are cut once, the weights' part first. Streamed blocks are dealt out by their index, evenly within
    each 100, so the portion is rounded to a hundredth. Shuffle the parts, never a stream before it is split: the two
    parts would be drawn from different orders.

    Raises:
        ValueError: the portion is not between 0 and 1, or one part would be empty.
    """
    streamed = isinstance(blocks, IterableDataset)
    unit = "blocks of every 100 in a stream" if streamed else "blocks"
    for_weights = count_for_weights(_PERIOD if streamed else len(blocks), train_portion, unit)
    if isinstance(blocks, IterableDataset):
        return _dealt(blocks, for_weights, to_weights=True), _dealt(blocks, for_weights, to_weights=False)
    return TokenBlocks(blocks.blocks[:for_weights]), TokenBlocks(blocks.blocks[for_weights:])


def _dealt(blocks: IterableDataset, for_weights: int, *, to_weights: bool) -> IterableDataset:
    return blocks.filter(_is_dealt, with_indices=True, fn_kwargs={"for_weights": for_weights, "to_weights": to_weights})


def _is_dealt(_block: object, index: int, for_weights: int, to_weights: bool) -> bool:
    # True for `for_weights` of every 100 indices, as evenly spread as they can be.
    return (index * for_weights % _PERIOD < for_weights) is to_weights
