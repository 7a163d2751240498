import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from knotwork_tasks.images import ImageSplits, LabelledImages, load_images
from PIL import Image, ImageOps

from .conftest import noise, pixels, save, write_split

TRUNCATED, NOT_AN_IMAGE, EMPTY = "truncated", "text", "empty"


def break_file(path: Path, how: str) -> None:
    """Turn a good image file into a broken one."""
    content = path.read_bytes()
    damaged = {TRUNCATED: content[: len(content) * 2 // 3], NOT_AN_IMAGE: b"a text, not an image\n", EMPTY: b""}
    path.write_bytes(damaged[how])


def paths(images: LabelledImages) -> list[str]:
    """The paths of the images' files, found by comparing with each file."""
    files = images.read.args[0]  # pyright: ignore
    return [files.paths[row] for row in images.rows]


def everything(splits: ImageSplits) -> list[tuple[Image.Image, int]]:
    return [splits.train[i] for i in range(len(splits.train))] + [splits.validation[i] for i in range(len(splits.validation))]


@pytest.mark.parametrize("validation", ["validation", "val", "test"])
def test_a_folder_with_both_splits(tmp_path: Path, validation: str):
    write_split(tmp_path / "train", {"dog": 2, "ant": 3, "cat": 1})
    write_split(tmp_path / validation, {"cat": 2, "ant": 1}, lambda seed: noise(100 + seed))
    splits = load_images(str(tmp_path))
    assert splits.labels == ("ant", "cat", "dog")
    assert sorted(splits.train.targets) == [0, 0, 0, 1, 2, 2]
    assert splits.validation.targets.tolist() == [0, 1, 1]
    for images, name in ((splits.train, "train"), (splits.validation, validation)):
        for i, path in enumerate(paths(images)):
            image, target = images[i]
            with Image.open(tmp_path / name / path) as original:
                assert image.tobytes() == original.tobytes()
            assert splits.labels[target] == path.split("/")[0]
    assert (splits.channels, splits.size, splits.skipped) == (1, (6, 6), 0)


def test_the_first_of_several_validation_folders_counts(tmp_path: Path):
    for name, count in (("train", 2), ("test", 3)):
        write_split(tmp_path / name, {"a": count, "b": count})
    assert len(load_images(str(tmp_path)).validation) == 6
    write_split(tmp_path / "val", {"a": 1, "b": 1})
    assert len(load_images(str(tmp_path)).validation) == 2


def test_the_seed_orders_train_and_leaves_validation(tmp_path: Path):
    write_split(tmp_path / "train", {"a": 20, "b": 20})
    first, again, other = (load_images(str(tmp_path), seed=seed) for seed in (1, 1, 2))
    assert paths(first.train) == paths(again.train) != paths(other.train)
    assert sorted(paths(first.train)) == sorted(paths(other.train))
    assert paths(first.validation) == paths(other.validation)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(counts=st.dictionaries(st.sampled_from("abcde"), st.integers(2, 25), min_size=2))
def test_every_class_holds_out_a_tenth(tmp_path_factory: pytest.TempPathFactory, counts: dict[str, int]):
    root = tmp_path_factory.mktemp("data")
    write_split(root / "train", counts)
    splits = load_images(str(root))
    train, validation = paths(splits.train), paths(splits.validation)
    assert sorted(train + validation) == sorted(f"{name}/{i:03d}.png" for name in counts for i in range(counts[name]))
    for name, count in counts.items():
        assert sum(path.startswith(f"{name}/") for path in validation) == max(1, round(count / 10))


def test_which_files_are_held_out_never_changes(tmp_path: Path):
    # Written down once; neither the order of listing, nor the folder's own name, nor the pixels matter.
    for name in ("one", "two"):
        write_split(tmp_path / name / "train", {"cat": 21, "dog": 9}, lambda seed, name=name: noise(seed + 50 * len(name)))
        assert paths(load_images(str(tmp_path / name)).validation) == ["cat/003.png", "cat/013.png", "dog/000.png"]


@pytest.mark.parametrize("how", [TRUNCATED, NOT_AN_IMAGE, EMPTY])
@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "webp", "ppm", "gif"])
def test_a_broken_image_is_skipped_and_counted(tmp_path: Path, how: str, suffix: str):
    for split in ("train", "validation"):
        write_split(tmp_path / split, {"a": 3, "b": 3}, lambda seed: noise(seed, "L", (40, 40)))
        break_file(save(noise(1, "L", (40, 40)), tmp_path / split / "a" / f"broken.{suffix}"), how)
    splits = load_images(str(tmp_path))
    assert splits.skipped == 2
    assert (len(splits.train), len(splits.validation)) == (6, 6)
    for image, _ in everything(splits):
        image.load()


def test_a_broken_image_is_never_held_out(tmp_path: Path):
    write_split(tmp_path / "train", {"a": 12, "b": 12})
    whole = load_images(str(tmp_path))
    held_out = paths(whole.validation)
    break_file(tmp_path / "train" / held_out[0], TRUNCATED)
    splits = load_images(str(tmp_path))
    assert splits.skipped == 1
    assert len(splits.train) + len(splits.validation) == 23
    assert len(splits.validation) == 2
    assert held_out[0] not in paths(splits.train) + paths(splits.validation)
    assert held_out[1] in paths(splits.validation)


def test_broken_images_among_whole_ones(tmp_path: Path):
    write_split(tmp_path / "train", {"a": 11, "b": 11})
    broken = ["a/000.png", "a/007.png", "b/010.png"]
    for path in broken:
        break_file(tmp_path / "train" / path, TRUNCATED)
    splits = load_images(str(tmp_path))
    assert splits.skipped == 3
    assert len(splits.train) + len(splits.validation) == 19
    assert not set(broken) & set(paths(splits.train) + paths(splits.validation))


def test_a_class_without_one_whole_image(tmp_path: Path):
    write_split(tmp_path / "train", {"a": 3, "b": 2, "c": 3})
    for i in range(2):
        break_file(tmp_path / "train" / "b" / f"{i:03d}.png", EMPTY)
    with pytest.raises(ValueError, match=r"no training image of label 1 \('b'\) \(2 broken images were skipped\)"):
        load_images(str(tmp_path))


def test_a_folder_without_one_whole_image(tmp_path: Path):
    write_split(tmp_path / "train", {"a": 1, "b": 1})
    for name in "ab":
        break_file(tmp_path / "train" / name / "000.png", NOT_AN_IMAGE)
    with pytest.raises(ValueError, match=r"none of the 2 images of its train split can be read \(UnidentifiedImageError: "):
        load_images(str(tmp_path))


@pytest.mark.parametrize("split", ["train", "validation"])
@pytest.mark.parametrize("content", [[], ["notes.txt"], [".hidden.png"], ["deeper/a.png"]])
def test_an_empty_class_folder(tmp_path: Path, split: str, content: list[str]):
    for name in ("train", "validation"):
        write_split(tmp_path / name, {"a": 2, "b": 2})
    (tmp_path / split / "a" / "000.png").unlink()
    (tmp_path / split / "a" / "001.png").unlink()
    for name in content:
        save(noise(0), tmp_path / split / "a" / Path(name).with_suffix(".png")).rename(tmp_path / split / "a" / name)
    with pytest.raises(ValueError, match=rf"the class folder '.*{split}/a' is empty: it holds no file that ends in \.bmp"):
        load_images(str(tmp_path))


def test_what_is_passed_over(tmp_path: Path):
    write_split(tmp_path / "train", {"a": 2, "b": 2})
    save(noise(9), tmp_path / "train" / "stray.png")
    save(noise(9), tmp_path / "train" / ".ipynb_checkpoints" / "a.png")
    save(noise(9), tmp_path / "train" / "a" / "._000.png")
    (tmp_path / "train" / "a" / "notes.txt").write_text("not an image")
    save(noise(9), tmp_path / "train" / "b" / "UPPER.PNG")
    splits = load_images(str(tmp_path))
    assert splits.labels == ("a", "b")
    assert sorted(paths(splits.train) + paths(splits.validation)) == [
        *("a/000.png", "a/001.png"),
        *("b/000.png", "b/001.png", "b/UPPER.PNG"),
    ]
    assert splits.skipped == 0


def test_a_folder_of_something_else(tmp_path: Path):
    with pytest.raises(ValueError, match=r"lacks train/: it must hold train/CLASS/\*\.png"):
        load_images(str(tmp_path))
    save(noise(0), tmp_path / "train" / "stray.png")
    with pytest.raises(ValueError, match=r"train' is empty: it must hold one subfolder of images a class"):
        load_images(str(tmp_path))


def test_one_class(tmp_path: Path):
    write_split(tmp_path / "train", {"a": 4})
    with pytest.raises(ValueError, match=r"holds the one class \['a'\]: at least 2 are needed"):
        load_images(str(tmp_path))


def test_one_image_cannot_be_held_out(tmp_path: Path):
    write_split(tmp_path / "train", {"a": 4, "b": 1})
    with pytest.raises(ValueError, match=r"has one image of class 'b' and no validation split: at least 2 are needed"):
        load_images(str(tmp_path))


def test_a_validation_class_that_training_has_not(tmp_path: Path):
    write_split(tmp_path / "train", {"a": 2, "b": 2})
    write_split(tmp_path / "test", {"a": 1, "z": 1})
    with pytest.raises(ValueError, match=r"test/ holds the classes \['z'\], which train/ has not; its own are \['a', 'b'\]"):
        load_images(str(tmp_path))


@pytest.mark.parametrize("where", ["train/a/link.png", "train/c", "validation"])
def test_a_link_out_of_the_dataset_is_refused(tmp_path: Path, where: str):
    write_split(tmp_path / "data" / "train", {"a": 2, "b": 2})
    write_split(tmp_path / "outside", {"a": 2})
    target = {"train/a/link.png": "outside/a/000.png", "train/c": "outside/a", "validation": "outside"}[where]
    (tmp_path / "data" / where).symlink_to(tmp_path / target)
    with pytest.raises(ValueError, match=rf"data/{where}' is a link to '.*{target}', which lies outside the dataset's folder"):
        load_images(str(tmp_path / "data"))


def test_links_within_the_dataset_and_to_it(tmp_path: Path):
    write_split(tmp_path / "data" / "train", {"a": 2, "b": 2})
    (tmp_path / "data" / "train" / "a" / "again.png").symlink_to("000.png")
    (tmp_path / "data" / "train" / "a" / "nowhere.png").symlink_to("missing.png")
    (tmp_path / "data" / "train" / "a" / "loop.png").symlink_to("loop.png")
    (tmp_path / "link").symlink_to("data")
    splits = load_images(str(tmp_path / "link"))
    assert len(splits.train) + len(splits.validation) == 5
    assert splits.skipped == 2


def test_images_of_mixed_sizes(tmp_path: Path):
    write_split(tmp_path / "train", {"a": 4, "b": 4}, lambda seed: noise(seed, "L", (5 + seed, 9)))
    splits = load_images(str(tmp_path))
    assert splits.size == (5, 9) or "a/000.png" in paths(splits.validation)
    assert sorted(image.height for image, _ in everything(splits)) == list(range(5, 13))


@pytest.mark.parametrize("mode", ["L", "LA", "1", "I;16", "grey palette"])
def test_grey_images_have_one_channel(tmp_path: Path, mode: str):
    write_split(tmp_path / "train", {"a": 2, "b": 2})
    image = noise(7)
    if mode == "grey palette":
        image = image.convert("RGB").quantize(256)
    elif mode == "I;16":
        image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
    else:
        image = image.convert(mode)
    save(image, tmp_path / "train" / "a" / "other.png")
    splits = load_images(str(tmp_path))
    assert splits.channels == 1
    assert {read.mode for read, _ in everything(splits)} == {"L"}
    if mode != "1":
        assert noise(7).tobytes() in pixels(splits.train) + pixels(splits.validation)


@pytest.mark.parametrize("split", ["train", "validation"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "CMYK", "colour palette"])
@pytest.mark.filterwarnings("error")
def test_one_colour_image_makes_all_of_them_colour(tmp_path: Path, mode: str, split: str):
    for name in ("train", "validation"):
        write_split(tmp_path / name, {"a": 2, "b": 2})
    image = noise(7, "RGB")
    image = image.quantize(16) if mode == "colour palette" else image.convert(mode)
    save(image, tmp_path / split / "a" / ("other.jpg" if mode == "CMYK" else "other.png"))
    splits = load_images(str(tmp_path))
    assert splits.channels == 3
    assert {read.mode for read, _ in everything(splits)} == {"RGB"}
    grey = np.asarray(noise(0))
    assert any(np.array_equal(np.asarray(read), np.stack([grey] * 3, -1)) for read, _ in everything(splits))


@pytest.mark.filterwarnings("error")
def test_transparency_is_dropped(tmp_path: Path):
    image = noise(3, "RGBA")
    palette = noise(4, "RGB").quantize(8)
    opaque = np.asarray(palette.convert("RGB"))
    palette.info["transparency"] = bytes(range(8))
    write_split(tmp_path / "train", {"a": 2, "b": 2})
    save(image, tmp_path / "validation" / "a" / "1.png")
    save(palette, tmp_path / "validation" / "a" / "2.png")
    first, second = (image for image, _ in load_images(str(tmp_path)).validation)  # pyright: ignore
    assert np.array_equal(np.asarray(first), np.asarray(image)[..., :3])
    assert np.array_equal(np.asarray(second), opaque)


def test_a_photograph_is_turned_upright(tmp_path: Path):
    write_split(tmp_path / "train", {"a": 1, "b": 1})
    lying = noise(5, "L", (4, 10))
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "validation" / "a").mkdir(parents=True)
    lying.save(tmp_path / "validation" / "a" / "0.png", exif=exif)
    upright, _ = load_images(str(tmp_path)).validation[0]
    assert upright.size == (4, 10)
    assert upright.tobytes() == ImageOps.mirror(lying.transpose(Image.Transpose.TRANSPOSE)).tobytes()


def test_images_are_decoded_when_asked_for(tmp_path: Path):
    write_split(tmp_path / "train", {"a": 2, "b": 2})
    splits = load_images(str(tmp_path))
    path = tmp_path / "train" / paths(splits.train)[0]
    save(noise(99), path)
    assert splits.train[0][0].tobytes() == noise(99).tobytes()


def test_images_travel_to_a_worker_process(tmp_path: Path):
    write_split(tmp_path / "train", {"a": 2, "b": 2})
    splits = load_images(str(tmp_path))
    assert pixels(pickle.loads(pickle.dumps(splits.train))) == pixels(splits.train)


def test_a_home_folder_and_a_relative_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_split(tmp_path / "mine" / "train", {"a": 2, "b": 2})
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert len(load_images("~/mine").train) == len(load_images("mine").train) == 2


@pytest.mark.skipif(os.name != "posix", reason="file names are bytes on posix only")
def test_a_file_name_that_is_not_unicode(tmp_path: Path):
    write_split(tmp_path / "train", {"a": 2, "b": 2})
    os.rename(tmp_path / "train" / "a" / "000.png", os.fsencode(tmp_path / "train" / "a") + b"/caf\xe9.png")
    assert len(load_images(str(tmp_path)).train) == 2


@pytest.mark.parametrize("name", ["./nope", "/no/such/folder", "data/nope.zip", "a b", "", "x/y/z", "a\0b"])
def test_a_name_that_is_nothing_says_what_is_accepted(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("datasets.load_dataset", None)  # not even asked
    with pytest.raises(ValueError, match=r"(does not exist|data/nope\.zip).*accepted are 'digits', a folder.*Hub") as caught:
        load_images(name)
    assert repr(name) in str(caught.value)


def test_a_file_is_not_a_dataset(tmp_path: Path):
    path = save(noise(0), tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png' is a file; accepted are 'digits'"):
        load_images(str(path))
