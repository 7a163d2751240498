from typing import Any

import datasets
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from knotwork_tasks.images import ImageSplits, load_images
from PIL import Image

from .conftest import noise, pixels

NAMES = ["ant", "bee", "cat"]


def table(labels: list[Any], first: int = 0, mode: str = "L", names: list[str] | None = None, **more: Any) -> Dataset:
    """Images `first`, `first + 1`, ... with these labels, in the columns img and label."""
    columns = {"img": [noise(first + i, mode) for i in range(len(labels))], "label": labels}
    features = Features({"img": datasets.Image(), "label": ClassLabel(names=names or NAMES)})
    for column, (feature, values) in more.items():
        columns[column], features[column] = values, feature
    return Dataset.from_dict(columns, features=features)


def hub(monkeypatch: pytest.MonkeyPatch, **splits: Dataset) -> list[tuple[str, dict[str, Any]]]:
    """Let the Hub hold these splits under any name."""
    calls: list[tuple[str, dict[str, Any]]] = []

    def load_dataset(name: str, **options: Any) -> DatasetDict:
        calls.append((name, options))
        return DatasetDict(splits)  # pyright: ignore

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return calls


def raw(image_bytes: list[bytes | None], labels: list[int]) -> Dataset:
    """Images by their files' bytes."""
    plain = Features({"img": {"bytes": Value("binary"), "path": Value("string")}, "label": ClassLabel(names=NAMES)})
    images = [None if content is None else {"bytes": content, "path": None} for content in image_bytes]
    dataset = Dataset.from_dict({"img": images, "label": labels}, features=plain)
    return dataset.cast_column("img", datasets.Image())


def by_pixels(splits: ImageSplits) -> dict[bytes, int]:
    return {image.tobytes(): target for images in (splits.train, splits.validation) for image, target in images}  # pyright: ignore


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_hub_dataset_with_two_splits(monkeypatch: pytest.MonkeyPatch, split: str):
    labels = [2, 0, 1, 1, 0]
    calls = hub(monkeypatch, train=table(labels), **{split: table([1, 0], first=50)})
    splits = load_images("someone/animals")
    assert calls == [("someone/animals", {})]
    assert splits.labels == ("ant", "bee", "cat")
    assert pixels(splits.validation) == [noise(50).tobytes(), noise(51).tobytes()]
    assert splits.validation.targets.tolist() == [1, 0]
    expected = {noise(i).tobytes(): label for i, label in enumerate(labels)}
    assert dict(zip(pixels(splits.train), splits.train.targets.tolist(), strict=True)) == expected
    assert (splits.channels, splits.size, splits.skipped) == (1, (6, 6), 0)


def test_validation_comes_before_test(monkeypatch: pytest.MonkeyPatch):
    hub(monkeypatch, train=table([0, 1, 2]), test=table([0], first=70), validation=table([1], first=80))
    assert pixels(load_images("animals").validation) == [noise(80).tobytes()]


def test_a_tenth_is_held_out_where_there_is_only_train(monkeypatch: pytest.MonkeyPatch):
    labels = [0] * 20 + [1] * 30 + [2] * 4
    hub(monkeypatch, train=table(labels))
    splits = load_images("animals")
    assert [splits.validation.targets.tolist().count(label) for label in range(3)] == [2, 3, 1]
    assert by_pixels(splits) == {noise(i).tobytes(): label for i, label in enumerate(labels)}
    other = load_images("animals", seed=5)
    assert pixels(splits.validation) == pixels(other.validation)
    assert pixels(splits.train) != pixels(other.train)


def test_a_test_split_without_labels_is_passed_over(monkeypatch: pytest.MonkeyPatch):
    hub(monkeypatch, train=table([0, 1, 2] * 2), test=table([-1, -1, -1], first=90))
    splits = load_images("animals")
    assert len(splits.train) == 3
    assert len(splits.validation) == 3
    assert len(by_pixels(splits)) == 6


def test_a_validation_split_with_a_label_missing(monkeypatch: pytest.MonkeyPatch):
    hub(monkeypatch, train=table([0, 1, 2]), validation=table([0, None, 2]))
    with pytest.raises(
        ValueError, match=r"its validation split holds images of label -1; the labels of training run from 0 to 2"
    ):
        load_images("animals")


def test_class_names_without_a_training_image(monkeypatch: pytest.MonkeyPatch):
    hub(monkeypatch, train=table([0, 2, 0], names=[*NAMES, "dog"]), test=table([1]))
    with pytest.raises(ValueError, match=r"no training image of label 1 \('bee'\), 3 \('dog'\): labels must run from 0 to 3"):
        load_images("animals")


def numbers(labels: list[int], column: str = "label") -> Dataset:
    features = Features({"img": datasets.Image(), column: Value("int32")})
    return Dataset.from_dict({"img": [noise(i) for i in range(len(labels))], column: labels}, features=features)


@pytest.mark.parametrize("column", ["label", "labels", "fine_label"])
def test_whole_numbers_are_labels_too(monkeypatch: pytest.MonkeyPatch, column: str):
    hub(monkeypatch, train=numbers([1, 0, 2, 2], column), test=numbers([2], column))
    splits = load_images("animals")
    assert splits.labels == ("0", "1", "2")
    assert splits.validation.targets.tolist() == [2]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 3, 1], r"no training image of label 2: labels must run from 0 to 3 without a gap"),
        ([1, 2, 1], r"no training image of label 0: labels"),
        ([0, 10**9], r"no training image of label 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and more: labels"),
        ([0, 1, -1], r"its train split holds images of label -1; the labels of training run from 0 to 1"),
        ([0, 0, 0], r"holds the one class \['0'\]"),
        ([], r"'animals' is empty|no training image"),
    ],
)
def test_labels_with_gaps(monkeypatch: pytest.MonkeyPatch, labels: list[int], message: str):
    hub(monkeypatch, train=numbers(labels))
    with pytest.raises(ValueError, match=message):
        load_images("animals")


def test_a_validation_label_that_training_has_not(monkeypatch: pytest.MonkeyPatch):
    hub(monkeypatch, train=numbers([0, 1]), test=numbers([1, 7]))
    with pytest.raises(ValueError, match=r"its test split holds images of label 7; the labels of training run from 0 to 1"):
        load_images("animals")


def test_several_columns_must_be_chosen_from(monkeypatch: pytest.MonkeyPatch):
    coarse = (ClassLabel(names=["x", "y"]), [1, 0, 1])
    mask = (datasets.Image(), [noise(60 + i) for i in range(3)])
    train = table([0, 1, 2], coarse_label=coarse, mask=mask, width=(Value("int64"), [6, 6, 6]))
    hub(monkeypatch, train=train, test=train)
    with pytest.raises(ValueError, match=r"several columns of images, \['img', 'mask'\]: choose one with --image-column"):
        load_images("animals")
    with pytest.raises(ValueError, match=r"columns of class numbers, \['label', 'coarse_label'\]: choose one with --label-col"):
        load_images("animals", image_column="mask")
    splits = load_images("animals", image_column="mask", label_column="coarse_label")
    assert splits.labels == ("x", "y")
    assert pixels(splits.validation) == [noise(60 + i).tobytes() for i in range(3)]
    assert splits.validation.targets.tolist() == [1, 0, 1]


def test_a_column_that_does_not_fit(monkeypatch: pytest.MonkeyPatch):
    train = table([0, 1, 2], text=(Value("string"), ["a", "b", "c"]), number=(Value("int8"), [2, 1, 0]))
    hub(monkeypatch, train=train, test=train)
    with pytest.raises(ValueError, match=r"column 'text' does not hold images; give --image-column one of \['img'\]"):
        load_images("animals", image_column="text")
    with pytest.raises(
        ValueError, match=r"'text' does not hold class numbers; give --label-column one of \['label', 'number'\]"
    ):
        load_images("animals", label_column="text")
    with pytest.raises(ValueError, match=r"column 'nope' does not exist; give --label-column one of"):
        load_images("animals", label_column="nope")
    assert load_images("animals", label_column="number").validation.targets.tolist() == [2, 1, 0]


def test_a_dataset_of_something_else(monkeypatch: pytest.MonkeyPatch):
    hub(monkeypatch, train=Dataset.from_dict({"text": ["a"], "label": [0]}))
    with pytest.raises(ValueError, match=r"no column of images; its columns are \['label', 'text'\] \(see --image-column\)"):
        load_images("stories")
    hub(monkeypatch, train=table([0, 1, 2]).remove_columns("label"))
    with pytest.raises(ValueError, match=r"no column of class numbers; its columns are \['img'\] \(see --label-column\)"):
        load_images("unlabelled")
    hub(monkeypatch, everything=table([0, 1, 2]))
    with pytest.raises(ValueError, match=r"no 'train' split; its splits are \['everything'\]"):
        load_images("animals")
    hub(monkeypatch, train=table([0, 1, 2]), test=table([0]).remove_columns("label"))
    with pytest.raises(ValueError, match=r"its test split has no column 'label'; its columns are \['img'\]"):
        load_images("animals")


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_broken_image_is_skipped_and_counted(monkeypatch: pytest.MonkeyPatch, split: str):
    good = table([0, 1, 2, 0, 1, 2]).cast_column("img", datasets.Image(decode=False))
    contents: list[bytes | None] = [row["img"]["bytes"] for row in good]  # pyright: ignore
    whole = raw(contents, [0, 1, 2, 0, 1, 2])
    broken = raw([contents[0][:60], None, b"", *contents[3:]], [0, 1, 2, 0, 1, 2])  # pyright: ignore
    hub(monkeypatch, **{"train": whole, "test": whole, split: broken})
    splits = load_images("animals")
    assert splits.skipped == 3
    damaged = splits.train if split == "train" else splits.validation
    assert sorted(pixels(damaged)) == sorted(noise(i).tobytes() for i in (3, 4, 5))


def test_one_colour_image_makes_all_of_them_colour(monkeypatch: pytest.MonkeyPatch):
    hub(monkeypatch, train=table([0, 1, 2]), test=table([0], mode="RGB"))
    splits = load_images("animals")
    assert splits.channels == 3
    assert splits.train[0][0].mode == splits.validation[0][0].mode == "RGB"


def test_floating_point_images_have_no_range(monkeypatch: pytest.MonkeyPatch):
    images = [Image.new("F", (4, 4), 0.5) for _ in range(2)]
    features = Features({"img": datasets.Image(), "label": ClassLabel(names=["a", "b"])})
    hub(monkeypatch, train=Dataset.from_dict({"img": images, "label": [0, 1]}, features=features))
    with pytest.raises(ValueError, match=r"none of the 2 images .* floating-point numbers, which have no agreed range"):
        load_images("heights")


def test_a_dataset_that_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch):
    def load_dataset(name: str) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(ValueError, match=r"'me/gone' is not a local folder, .* \(ConnectionError: no route\); accepted are"):
        load_images("me/gone")
