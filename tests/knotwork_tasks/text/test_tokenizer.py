from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from hypothesis import example, given, settings
from hypothesis import strategies as st
from knotwork_tasks.text import _tokenizer as tokenizer_module
from knotwork_tasks.text import load_tokenizer
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import AutoTokenizer, PreTrainedTokenizerFast


def test_the_vocabulary_is_the_bytes_one_special_token_and_merges(tokenizer: PreTrainedTokenizerFast):
    assert len(tokenizer) == 300
    assert tokenizer.all_special_tokens == ["<|endoftext|>"]
    assert tokenizer.eos_token_id == tokenizer.bos_token_id == tokenizer.pad_token_id == 0
    assert tokenizer.unk_token is None
    assert tokenizer("")["input_ids"] == []
    assert len(tokenizer("river")["input_ids"]) < 5  # pyright: ignore


@settings(deadline=None)
@given(text=st.text(max_size=200))
@example("  two  spaces ,  and a comma . do n't\r\n\t\n ")
@example("<|endoftext|> inside <|endoftext|>")
@example("\x00\u2028\ufeff🦊é")
def test_decoding_restores_any_text(tokenizer: PreTrainedTokenizerFast, text: str):
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_the_same_text_gives_the_same_tokenizer(tokenizer: PreTrainedTokenizerFast, stories: Dataset):
    for texts in (stories, stories.to_iterable_dataset()):
        again = load_tokenizer("train:300", texts)
        assert again.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()


def test_a_saved_tokenizer_loads_with_the_same_ids(tokenizer: PreTrainedTokenizerFast, stories: Dataset, tmp_path: Path):
    tokenizer.save_pretrained(tmp_path)
    for loaded in (AutoTokenizer.from_pretrained(tmp_path), load_tokenizer(str(tmp_path), stories)):
        for text in [*stories["text"], "<|endoftext|> x  .  y", "🦊\n\n"]:
            assert loaded.encode(text) == tokenizer.encode(text)
            assert loaded.decode(loaded.encode(text)) == text
        assert loaded.get_vocab() == tokenizer.get_vocab()
        assert loaded.eos_token_id == loaded.bos_token_id == loaded.pad_token_id == 0


def test_training_reads_no_more_than_its_share(stories: Dataset, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tokenizer_module, "_TRAINING_CHARACTERS", 40)
    short = Dataset.from_dict({"text": [None, "", stories[0]["text"][:40]]})
    long = Dataset.from_dict({"text": [stories[0]["text"], "z" * 100]})
    tokenizers = [load_tokenizer("train:300", texts).backend_tokenizer.to_str() for texts in (short, long)]
    assert tokenizers[0] == tokenizers[1]


@pytest.mark.parametrize("spec", ["train:abc", "train:", "train:-5", "train:4096.0", "train: 300", "train:99999999"])
def test_a_malformed_spec(spec: str, stories: Dataset):
    with pytest.raises(ValueError, match=f"'{spec}' is malformed; accepted are 'train:SIZE'"):
        load_tokenizer(spec, stories)


@pytest.mark.parametrize("size", [0, 256, 1_000_001])
def test_a_size_out_of_range(size: int, stories: Dataset):
    with pytest.raises(ValueError, match=f"'train:{size}': the vocabulary size must be from 257 to 1000000"):
        load_tokenizer(f"train:{size}", stories)


def test_the_smallest_size_is_the_bytes_alone(stories: Dataset):
    smallest = load_tokenizer("train:257", stories)
    assert len(smallest) == 257
    assert len(smallest.encode("🦊")) == 4


@pytest.mark.parametrize("spec", ["./nope", "/no/such/folder", "", "a b", "x/y/z"])
def test_a_folder_that_is_not_there(spec: str, stories: Dataset):
    with pytest.raises(ValueError, match="is not a folder here; accepted are") as caught:
        load_tokenizer(spec, stories)
    assert repr(spec) in str(caught.value)


def test_a_folder_without_a_tokenizer(tmp_path: Path, stories: Dataset):
    with pytest.raises(ValueError, match=f"no tokenizer could be loaded from '{tmp_path}'"):
        load_tokenizer(str(tmp_path), stories)


def test_a_hub_name_goes_to_transformers_without_remote_code(
    tokenizer: PreTrainedTokenizerFast, stories: Dataset, monkeypatch: pytest.MonkeyPatch
):
    calls: list[tuple[str, dict[str, Any]]] = []

    def from_pretrained(name: str, **options: Any) -> object:
        calls.append((name, options))
        if name == "me/slow":
            return object()
        if name == "me/unreachable":
            raise OSError("no route")
        return tokenizer

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", from_pretrained)
    assert load_tokenizer("gpt2", stories) is tokenizer
    assert calls == [("gpt2", {"trust_remote_code": False})]
    with pytest.raises(ValueError, match="'me/slow' is a object, not a fast tokenizer"):
        load_tokenizer("me/slow", stories)
    with pytest.raises(ValueError, match=r"no tokenizer could be loaded from 'me/unreachable' \(no route\)"):
        load_tokenizer("me/unreachable", stories)


def test_a_tokenizer_without_an_end_of_text(tmp_path: Path, stories: Dataset):
    PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"a": 0}, "a"))).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=f"'{tmp_path}' has no end-of-text token"):
        load_tokenizer(str(tmp_path), stories)


def test_a_model_without_a_tokenizer_is_given_none(tmp_path: Path):
    """transformers would make one up from ``model_type``, which reads every text as nothing."""
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(ValueError, match=r"it holds none of tokenizer\.json"):
        tokenizer_module.existing_tokenizer(str(tmp_path))
