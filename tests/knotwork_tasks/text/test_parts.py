from itertools import pairwise

import pytest
import torch
from datasets import Dataset, IterableDataset
from hypothesis import given
from hypothesis import strategies as st
from knotwork_tasks.text import TokenBlocks, split_blocks, token_blocks
from transformers import PreTrainedTokenizerFast


def numbered_blocks(count: int) -> TokenBlocks:
    return TokenBlocks(torch.arange(count, dtype=torch.int32).view(count, 1))


def numbers(blocks: TokenBlocks | IterableDataset) -> list[int]:
    return [block["input_ids"].item() for block in blocks]  # pyright: ignore


def number_stream(count: int) -> IterableDataset:
    return IterableDataset.from_generator(_generate, gen_kwargs={"count": count})


def _generate(count: int):
    for i in range(count):
        yield {"input_ids": torch.tensor([i])}


@given(count=st.integers(2, 200), portion=st.floats(0.01, 0.99))
def test_blocks_in_memory_are_cut_once(count: int, portion: float):
    cut = round(count * portion)
    if cut in (0, count):
        with pytest.raises(ValueError, match=f"train_portion {portion} of {count} blocks leaves {cut} for the weights"):
            split_blocks(numbered_blocks(count), portion)
        return
    weights, architecture = split_blocks(numbered_blocks(count), portion)
    assert numbers(weights) == list(range(cut))
    assert numbers(architecture) == list(range(cut, count))


@pytest.mark.parametrize("percent", [1, 20, 33, 50, 80, 99])
def test_streamed_blocks_are_dealt_out_evenly(percent: int):
    weights, architecture = (numbers(part) for part in split_blocks(number_stream(250), percent / 100))
    assert sorted(weights + architecture) == list(range(250))
    assert weights == sorted(weights)
    for start in range(0, 200, 10):
        among_100 = sum(start <= number < start + 100 for number in weights) if start <= 150 else percent
        assert among_100 == percent
    longest = max(b - a for a, b in pairwise(weights))
    assert longest <= -(-100 // percent)


def test_shuffling_the_parts_of_a_stream_keeps_them_apart(stories: Dataset, tokenizer: PreTrainedTokenizerFast):
    texts = stories.to_iterable_dataset(num_shards=4)
    every = [tuple(block["input_ids"].tolist()) for block in token_blocks(texts, tokenizer, 4)]
    parts = split_blocks(token_blocks(texts, tokenizer, 4), 0.5)
    expected = [sorted(every[0::2]), sorted(every[1::2])]
    for seed, part, blocks in zip((1, 2), parts, expected, strict=True):
        shuffled = part.shuffle(seed=seed, buffer_size=8)
        shuffled.set_epoch(seed)
        assert sorted(tuple(block["input_ids"].tolist()) for block in shuffled) == blocks


@pytest.mark.parametrize("portion", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_a_portion_out_of_range(portion: float):
    for blocks in (numbered_blocks(10), number_stream(10)):
        with pytest.raises(ValueError, match=f"train_portion must lie between 0 and 1, got {portion}"):
            split_blocks(blocks, portion)


def test_an_empty_part():
    with pytest.raises(ValueError, match=r"train_portion 0\.01 of 10 blocks leaves 0 for the weights and 10 for"):
        split_blocks(numbered_blocks(10), 0.01)
    with pytest.raises(ValueError, match=r"train_portion 0\.999 of 100 blocks of every 100 in a stream leaves 100"):
        split_blocks(number_stream(10), 0.999)
