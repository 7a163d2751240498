"""tools/fashion_mnist.py, on tiny idx files of its own."""

from __future__ import annotations

import gzip
import importlib.util
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PATH = Path(__file__).parents[2] / "tools" / "fashion_mnist.py"
NAMES = ["t-shirt-top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot"]
PIXELS = np.random.default_rng(0).integers(0, 256, (30, 4, 5), dtype=np.uint8)
LABELS = np.asarray([i % 10 for i in range(30)], dtype=np.uint8)


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("fashion_mnist", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fashion_mnist"] = module
    spec.loader.exec_module(module)
    return module


def write_idx(path: Path, array: np.ndarray) -> None:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes(), mtime=0))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    for prefix, count in (("train", 30), ("t10k", 10)):
        write_idx(folder / f"{prefix}-images-idx3-ubyte.gz", PIXELS[:count])
        write_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", LABELS[:count])
    return folder


def left_behind(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "source")


def test_every_image_lies_in_the_folder_of_its_class(tool, source: Path, tmp_path: Path):
    output = tmp_path / "deep" / "fashion"
    assert tool.convert(source, output) == {"train": 30, "test": 10}
    assert sorted(path.name for path in output.iterdir()) == ["test", "train"]
    for split, count in (("train", 30), ("test", 10)):
        files = sorted((output / split).glob("*/*"))
        assert len(files) == count
        for path in files:
            index = int(path.stem)
            assert path.parent.name == NAMES[LABELS[index]]
            with Image.open(path) as image:
                assert (image.mode, image.format) == ("L", "PNG")
                assert np.array_equal(np.asarray(image), PIXELS[index])
    assert left_behind(tmp_path / "deep") == ["fashion"]


def test_a_limit_a_class(tool, source: Path, tmp_path: Path):
    assert tool.convert(source, tmp_path / "fashion", limit=2) == {"train": 20, "test": 10}
    assert sorted(path.name for path in (tmp_path / "fashion/train/coat").iterdir()) == ["00004.png", "00014.png"]
    with pytest.raises(ValueError, match="--limit must be at least 1, got 0"):
        tool.convert(source, tmp_path / "other", limit=0)


@pytest.mark.parametrize("kind", ["folder", "file", "dangling link"])
def test_an_output_that_exists_is_refused(tool, source: Path, tmp_path: Path, kind: str):
    output = tmp_path / "fashion"
    if kind == "folder":
        output.mkdir()
    elif kind == "file":
        output.write_text("mine")
    else:
        output.symlink_to("nowhere")
    with pytest.raises(ValueError, match="fashion exists already: remove it, or choose another --output-dir"):
        tool.convert(source, output)
    assert left_behind(tmp_path) == ["fashion"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_a_stopped_run_leaves_nothing_under_the_name(tool, source, tmp_path, monkeypatch, error: type[BaseException]):
    saved = []

    def save(image: Image.Image, path: Path) -> None:
        saved.append(path)
        assert not (tmp_path / "fashion").exists()
        if len(saved) == 35:
            raise error
        path.write_bytes(b"")

    monkeypatch.setattr(Image.Image, "save", save)
    with pytest.raises(error):
        tool.convert(source, tmp_path / "fashion")
    assert len(saved) == 35
    assert left_behind(tmp_path) == []


def test_a_file_that_is_missing(tool, source: Path, tmp_path: Path):
    (source / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(ValueError, match=r"t10k-labels-idx1-ubyte\.gz is missing: apt-get install dataset-fashion-mnist"):
        tool.convert(source, tmp_path / "fashion")
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"plain", "is not a whole gzip file"),
        (gzip.compress(b"\0\0\x08\x01\0\0\0\x05", mtime=0)[:-4], "is not a whole gzip file"),
        (gzip.compress(b"\0\0\x0d\x01\0\0\0\0", mtime=0), "is not an idx file of unsigned bytes: it begins with 00 00 0d 01"),
        (gzip.compress(b"", mtime=0), "is not an idx file of unsigned bytes: it begins with"),
        (gzip.compress(b"\0\0\x08\x01\0\0\0\x05abc", mtime=0), r"holds 3 bytes, but its header says \[5\]"),
        (gzip.compress(b"\0\0\x08\x03\0\0", mtime=0), "its header says"),
    ],
)
def test_a_file_of_something_else(tool, tmp_path: Path, content: bytes, message: str):
    (tmp_path / "a.gz").write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.gz {message}|a\.gz holds -?\d+ bytes, but {message}"):
        tool.read_idx(tmp_path / "a.gz")


def test_files_that_do_not_match(tool, source: Path, tmp_path: Path):
    write_idx(source / "t10k-labels-idx1-ubyte.gz", LABELS[:9])
    with pytest.raises(ValueError, match=r"t10k files of .* do not match: images \(10, 4, 5\), labels \(9,\)"):
        tool.convert(source, tmp_path / "fashion")
    write_idx(source / "t10k-labels-idx1-ubyte.gz", LABELS[:10] + 1)
    with pytest.raises(ValueError, match="hold the label 10: labels are below 10"):
        tool.convert(source, tmp_path / "fashion")


def test_the_command_line(tool, source: Path, tmp_path: Path, monkeypatch, capsys):
    output = tmp_path / "fashion"
    monkeypatch.setattr(sys, "argv", ["fashion_mnist.py", "--source", str(source), "--output-dir", str(output)])
    tool.main()
    assert capsys.readouterr().out == f"{output}: 30 images in train/, 10 images in test/\n"
    with pytest.raises(SystemExit) as stopped:
        tool.main()
    assert stopped.value.code == 2
    assert "exists already" in capsys.readouterr().err
