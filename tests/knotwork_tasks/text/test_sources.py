import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest
from datasets import Dataset, DatasetDict, IterableDataset, IterableDatasetDict
from datasets import config as datasets_config
from knotwork_tasks.text import TextDataset, load_text


def documents(texts: TextDataset) -> list[Any]:
    return [text for batch in texts.iter(batch_size=7) for text in batch["text"]]  # pyright: ignore


def numbered(count: int) -> list[str]:
    return [f"document {i}" for i in range(count)]


def write_jsonl(path: Path, texts: list[str], column: str = "text") -> str:
    path.write_text("".join(json.dumps({"id": i, column: text}) + "\n" for i, text in enumerate(texts)))
    return str(path)


def write_parquet(path: Path, texts: list[str], column: str = "text") -> str:
    Dataset.from_dict({"id": list(range(len(texts))), column: texts}).to_parquet(path)
    return str(path)


WRITERS = [pytest.param(write_jsonl, "jsonl", id="jsonl"), pytest.param(write_parquet, "parquet", id="parquet")]
Writer = Callable[..., str]


@pytest.mark.parametrize(("write", "suffix"), WRITERS)
def test_a_table_holds_out_its_last_twentieth(tmp_path: Path, write: Writer, suffix: str):
    splits = load_text(write(tmp_path / f"a.{suffix}", numbered(40)))
    assert documents(splits.validation) == numbered(40)[38:]
    assert sorted(documents(splits.train)) == sorted(numbered(40)[:38])
    assert splits.train.column_names == splits.validation.column_names == ["text"]


@pytest.mark.parametrize(("write", "suffix"), WRITERS)
def test_a_streamed_table_holds_out_its_first_twentieth(tmp_path: Path, write: Writer, suffix: str):
    splits = load_text(write(tmp_path / f"a.{suffix}", numbered(40)), streaming=True)
    assert isinstance(splits.train, IterableDataset)
    assert documents(splits.validation) == numbered(40)[:2]
    assert sorted(documents(splits.train)) == sorted(numbered(40)[2:])


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(("write", "suffix"), WRITERS)
def test_another_column_is_read_as_text(tmp_path: Path, write: Writer, suffix: str, streaming: bool):
    source = write(tmp_path / f"a.{suffix}", numbered(4), column="story")
    splits = load_text(source, text_column="story", streaming=streaming)
    assert sorted(documents(splits.train) + documents(splits.validation)) == numbered(4)
    with pytest.raises(ValueError, match=r"no column 'text'; its columns are \['id', 'story'\]"):
        load_text(source, streaming=streaming)
    with pytest.raises(ValueError, match="column 'id' holds int, not text"):
        load_text(source, text_column="id", streaming=streaming)


@pytest.mark.parametrize("streaming", [False, True])
def test_the_seed_orders_train_and_leaves_validation(tmp_path: Path, streaming: bool):
    source = write_jsonl(tmp_path / "a.jsonl", numbered(60))
    first, again, other = (load_text(source, streaming=streaming, seed=seed) for seed in (1, 1, 2))
    assert documents(first.train) == documents(again.train) != documents(other.train)
    assert sorted(documents(first.train)) == sorted(documents(other.train))
    assert documents(first.validation) == documents(other.validation)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_txt_file_is_cut_once_after_a_line(tmp_path: Path, streaming: bool):
    text = "".join(f"line {i} ünïcode\r\n" for i in range(200))
    (tmp_path / "a.txt").write_text(text, newline="", encoding="utf-8")
    splits = load_text(str(tmp_path / "a.txt"), streaming=streaming)
    (train,), (validation,) = documents(splits.train), documents(splits.validation)
    assert train + validation == text
    assert train.endswith("\n")
    assert 0.05 <= len(validation) / len(text) < 0.06


def test_a_txt_file_of_one_line_is_cut_all_the_same(tmp_path: Path):
    (tmp_path / "a.txt").write_text("title\n" + "x" * 994)
    splits = load_text(str(tmp_path / "a.txt"))
    assert [len(text) for text in documents(splits.train) + documents(splits.validation)] == [950, 50]


def test_a_folder_holds_both_splits(tmp_path: Path):
    (tmp_path / "train.txt").write_text("learn\nthis")
    with pytest.raises(ValueError, match=r"lacks validation\.txt"):
        load_text(str(tmp_path))
    (tmp_path / "validation.txt").write_text("not this")
    splits = load_text(str(tmp_path))
    assert documents(splits.train) == ["learn\nthis"]
    assert documents(splits.validation) == ["not this"]


@pytest.mark.parametrize("name", ["./nope", "/no/such/folder", "nope.txt", "data/nope.jsonl", "a b", "", "x/y/z", "a\0b"])
def test_a_name_that_is_nothing_says_what_is_accepted(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(datasets, "load_dataset", None)  # not even asked
    with pytest.raises(ValueError, match=r"does not exist; accepted are 'python-stdlib'.*Hub") as caught:
        load_text(name)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize("text", ["", " \n\n \t\n"])
@pytest.mark.parametrize("suffix", ["txt", "jsonl"])
def test_an_empty_file(tmp_path: Path, text: str, suffix: str):
    (tmp_path / f"a.{suffix}").write_text(text)
    with pytest.raises(ValueError, match=rf"a\.{suffix}'.*(empty|cannot be read)"):
        load_text(str(tmp_path / f"a.{suffix}"))


@pytest.mark.parametrize("streaming", [False, True])
def test_blank_documents(tmp_path: Path, streaming: bool):
    with pytest.raises(ValueError, match=r"a\.parquet' is empty: its train split holds no text"):
        load_text(write_parquet(tmp_path / "a.parquet", [" ", ""] * 10), streaming=streaming)
    with pytest.raises(ValueError, match=r"b\.jsonl' is empty: its validation split holds no text"):
        load_text(write_jsonl(tmp_path / "b.jsonl", ["", "text", ""]), streaming=streaming)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_table_of_no_rows_or_one(tmp_path: Path, streaming: bool):
    with pytest.raises(ValueError, match=r"zero\.parquet'"):
        load_text(write_parquet(tmp_path / "zero.parquet", []), streaming=streaming)
    with pytest.raises(ValueError, match=r"one\.parquet' holds 1 document.*at least 2"):
        load_text(write_parquet(tmp_path / "one.parquet", ["alone"]), streaming=streaming)


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("suffix", ["txt", "jsonl", "parquet"])
def test_a_malformed_file(tmp_path: Path, suffix: str, streaming: bool):
    (tmp_path / f"bad.{suffix}").write_bytes(b'{"text": "broken \xff\xfe\n{]')
    with pytest.raises(ValueError, match=rf"bad\.{suffix}' cannot be read: "):
        load_text(str(tmp_path / f"bad.{suffix}"), streaming=streaming)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_table_that_breaks_far_down(tmp_path: Path, streaming: bool):
    source = write_jsonl(tmp_path / "late.jsonl", ["x" * 2000] * 8_000)
    with Path(source).open("a") as file:
        file.write("{broken\n")
    with pytest.raises(ValueError, match=r"late\.jsonl' cannot be read: "):
        load_text(source, streaming=streaming)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_file_name_is_no_pattern(tmp_path: Path, streaming: bool):
    write_jsonl(tmp_path / "a1.jsonl", ["wrong"] * 4)
    splits = load_text(write_jsonl(tmp_path / "a[1].jsonl", numbered(4)), streaming=streaming)
    assert sorted(documents(splits.train) + documents(splits.validation)) == numbered(4)


def test_another_kind_of_file(tmp_path: Path):
    (tmp_path / "a.csv").write_text("text\nhello\n")
    with pytest.raises(ValueError, match=r"a\.csv' is neither a folder nor of a known kind; accepted are"):
        load_text(str(tmp_path / "a.csv"))


def test_a_table_is_not_copied_to_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cache = tmp_path / "cache"
    monkeypatch.setattr(datasets_config, "HF_DATASETS_CACHE", cache)
    load_text(write_parquet(tmp_path / "a.parquet", numbered(40)))
    assert sum(path.stat().st_size for path in cache.rglob("*") if path.is_file()) == 0  # datasets leaves a lock file


class Hub:
    """Stands in for `datasets.load_dataset` and remembers how it was called."""

    def __init__(self, splits: dict[str, list[str]], column: str = "text") -> None:
        self.splits = {name: Dataset.from_dict({column: texts, "id": texts}) for name, texts in splits.items()}
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, name: str, **options: Any) -> DatasetDict | IterableDatasetDict:
        self.calls.append((name, options))
        if options["streaming"]:
            return IterableDatasetDict({k: v.to_iterable_dataset() for k, v in self.splits.items()})
        return DatasetDict(self.splits)  # pyright: ignore


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("held_out", ["validation", "test"])
def test_a_hub_dataset_with_its_own_validation(monkeypatch: pytest.MonkeyPatch, streaming: bool, held_out: str):
    splits = {"train": numbered(9), "other": ["no"], "test": ["tested"], held_out: ["held", "out"]}
    hub = Hub(splits)
    monkeypatch.setattr(datasets, "load_dataset", hub)
    loaded = load_text("roneneldan/TinyStories", streaming=streaming)
    assert hub.calls == [("roneneldan/TinyStories", {"streaming": streaming})]
    assert documents(loaded.validation) == ["held", "out"]
    assert sorted(documents(loaded.train)) == numbered(9)
    assert isinstance(loaded.train, IterableDataset) is streaming


@pytest.mark.parametrize("streaming", [False, True])
def test_a_hub_dataset_without_validation(monkeypatch: pytest.MonkeyPatch, streaming: bool):
    monkeypatch.setattr(datasets, "load_dataset", Hub({"train": numbered(100)}))
    loaded = load_text("imdb", streaming=streaming)
    assert documents(loaded.validation) == (numbered(100)[:5] if streaming else numbered(100)[95:])
    assert sorted(documents(loaded.train) + documents(loaded.validation)) == sorted(numbered(100))


@pytest.mark.parametrize("streaming", [False, True])
def test_a_hub_dataset_that_does_not_fit(monkeypatch: pytest.MonkeyPatch, streaming: bool):
    monkeypatch.setattr(datasets, "load_dataset", Hub({"dev": ["text"]}))
    with pytest.raises(ValueError, match=r"'me/mine' has no 'train' split; its splits are \['dev'\]"):
        load_text("me/mine", streaming=streaming)
    monkeypatch.setattr(datasets, "load_dataset", Hub({"train": ["a"], "validation": ["b"]}, column="story"))
    with pytest.raises(ValueError, match=r"'me/mine' has no column 'text'; its columns are \['id', 'story'\]"):
        load_text("me/mine", streaming=streaming)


def test_a_hub_name_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch):
    def unreachable(name: str, **options: Any) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(ValueError, match=r"'me/mine' is not a local.*ConnectionError: no route.*accepted are"):
        load_text("me/mine")
