import pytest
import torch
from datasets import Dataset, IterableDataset
from hypothesis import example, given, settings
from hypothesis import strategies as st
from knotwork_tasks.text import TokenBlocks, bytes_per_token, token_blocks
from knotwork_tasks.text import _blocks as blocks_module
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerFast


def naive_tokens(documents: list[str | None], tokenizer: PreTrainedTokenizerFast) -> list[int]:
    tokens: list[int] = []
    for document in documents:
        if document:
            if tokens:
                tokens.append(0)
            tokens += tokenizer.encode(document)
    return tokens


def as_lists(blocks: TokenBlocks | IterableDataset) -> list[list[int]]:
    return [block["input_ids"].tolist() for block in blocks]  # pyright: ignore


@settings(deadline=None, max_examples=40)
@given(
    documents=st.lists(st.one_of(st.none(), st.text(max_size=40), st.sampled_from(["a fox\n\n", "the river "])), max_size=150),
    block_size=st.integers(1, 40),
)
@example(documents=[None, "", "fox", "", "fox"], block_size=1)
def test_packing_equals_the_naive_reference(tokenizer: PreTrainedTokenizerFast, documents: list[str | None], block_size: int):
    tokens = naive_tokens(documents, tokenizer)
    texts = Dataset.from_dict({"text": documents or ["", ""]})
    if len(tokens) < block_size:
        for dataset in (texts, texts.to_iterable_dataset()):
            with pytest.raises(ValueError, match=f"has {len(tokens)} tokens, .* block_size {block_size}: give more"):
                token_blocks(dataset, tokenizer, block_size)
        return
    expected = [tokens[i : i + block_size] for i in range(0, len(tokens) - block_size + 1, block_size)]
    assert as_lists(token_blocks(texts, tokenizer, block_size)) == expected
    assert as_lists(token_blocks(texts.to_iterable_dataset(), tokenizer, block_size)) == expected


@pytest.mark.parametrize("streaming", [False, True])
def test_a_block_is_a_long_tensor_and_batches(stories: Dataset, tokenizer: PreTrainedTokenizerFast, streaming: bool):
    blocks = token_blocks(stories.to_iterable_dataset() if streaming else stories, tokenizer, 16)
    first = next(iter(blocks))
    assert list(first) == ["input_ids"]
    assert first["input_ids"].dtype == torch.int64
    assert first["input_ids"].shape == (16,)
    batch = next(iter(DataLoader(blocks, batch_size=3)))  # pyright: ignore
    assert batch["input_ids"].shape == (3, 16)


@pytest.mark.parametrize("streaming", [False, True])
def test_workers_read_every_block_once(stories: Dataset, tokenizer: PreTrainedTokenizerFast, streaming: bool):
    blocks = token_blocks(stories.to_iterable_dataset() if streaming else stories, tokenizer, 16)
    loaded = [row.tolist() for batch in DataLoader(blocks, batch_size=4, num_workers=2) for row in batch["input_ids"]]  # pyright: ignore
    assert sorted(loaded) == sorted(as_lists(blocks))


def test_a_stream_may_be_read_twice(stories: Dataset, tokenizer: PreTrainedTokenizerFast):
    blocks = token_blocks(stories.to_iterable_dataset(), tokenizer, 16)
    assert as_lists(blocks) == as_lists(blocks)


def test_a_stream_resumes_where_it_stopped(stories: Dataset, tokenizer: PreTrainedTokenizerFast):
    blocks = token_blocks(stories.to_iterable_dataset(), tokenizer, 16)
    reading = iter(blocks)
    read = [next(reading)["input_ids"].tolist() for _ in range(5)]
    state = blocks.state_dict()
    resumed = token_blocks(stories.to_iterable_dataset(), tokenizer, 16)
    resumed.load_state_dict(state)
    assert read + as_lists(resumed) == as_lists(token_blocks(stories, tokenizer, 16))


@settings(deadline=None, max_examples=30)
@given(text=st.text(st.sampled_from("aB 1é.,'🦊\n\t\r_"), min_size=1, max_size=300))
def test_a_long_document_in_pieces_has_the_tokens_of_the_whole(tokenizer: PreTrainedTokenizerFast, text: str):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks_module, "_PIECE_CHARACTERS", 5)
        blocks = token_blocks(Dataset.from_dict({"text": [text]}), tokenizer, 1)
    assert blocks.blocks.flatten().tolist() == tokenizer.encode(text)


def test_a_long_document_is_cut(tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(blocks_module, "_PIECE_CHARACTERS", 5)
    pieces = list(blocks_module._pieces(Dataset.from_dict({"text": ["one two\nthree\nfour", "five."]})))
    assert pieces == [("one two", True), ("\nthree", False), ("\nfour", False), ("five.", True)]


def test_what_the_tokenizer_would_add_is_not_in_the_blocks(stories: Dataset):
    words = Tokenizer(WordLevel({"[UNK]": 0, "[EOS]": 1, "fox": 2}, "[UNK]"))
    words.enable_truncation(2)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="[EOS]", bos_token="[UNK]", add_bos_token=True)
    blocks = token_blocks(Dataset.from_dict({"text": ["fox"] * 3}), tokenizer, 1)
    assert blocks.blocks.flatten().tolist() == [2, 1, 2, 1, 2]


@pytest.mark.parametrize("block_size", [0, -3])
def test_a_block_size_that_is_none(stories: Dataset, tokenizer: PreTrainedTokenizerFast, block_size: int):
    with pytest.raises(ValueError, match=f"block_size must be at least 1, got {block_size}"):
        token_blocks(stories, tokenizer, block_size)


def test_a_tokenizer_without_an_end_of_text(stories: Dataset):
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"a": 0}, "a")), name_or_path="mine")
    with pytest.raises(ValueError, match="tokenizer 'mine' has no end-of-text token"):
        token_blocks(stories, tokenizer, 4)


@pytest.mark.parametrize("streaming", [False, True])
def test_bytes_per_token(tokenizer: PreTrainedTokenizerFast, streaming: bool):
    documents = ["fox 🦊", None, "the river said", "never reached"]
    texts = Dataset.from_dict({"text": documents})
    dataset = texts.to_iterable_dataset() if streaming else texts
    tokens = len(naive_tokens(documents[:3], tokenizer))
    assert bytes_per_token(dataset, tokenizer, max_documents=3) == (8 + 14) / tokens
    assert bytes_per_token(dataset, tokenizer) > 0
    with pytest.raises(ValueError, match="the first 7 documents hold no text"):
        bytes_per_token(Dataset.from_dict({"text": ["", ""]}), tokenizer, max_documents=7)
