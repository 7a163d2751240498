"""Whatever a dataset's files hold, loading them gives text or images, or one clear error."""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from knotwork_tasks.images import load_images
from knotwork_tasks.text import load_text, load_tokenizer, token_blocks
from PIL import Image

from ..hostile import VALUES, cases, damaged, json_bytes, refused_clearly, watched

TEXTS = ["the cat sat on the mat", "the mat lay still", "a cat, a mat"] * 4
ODD_TEXT = st.sampled_from(
    [b"\xff\xfe", b"\0" * 50, b"\xed\xa0\x80", b"\r" * 20, b"\x1a", "\u2028\u202e".encode(), b"\xef\xbb\xbf"]
)


def read_text(file: Path, streaming: bool = False) -> None:
    """What an app does with text before it trains."""
    splits = load_text(str(file), streaming=streaming)
    blocks = token_blocks(splits.train, load_tokenizer("train:260", splits.train), 4)
    assert next(iter(blocks))["input_ids"].shape == (4,)  # pyright: ignore


def test_any_text_is_read_or_refused(tmp_path: Path):
    whole = "\n".join(TEXTS).encode()
    contents = st.one_of(
        damaged(whole), st.binary(max_size=60), st.lists(ODD_TEXT, max_size=3).map(b"".join), ODD_TEXT.map(lambda b: whole + b)
    )

    @cases(30)
    @given(content=contents)
    def read(content: bytes):
        file = tmp_path / "inside" / "tale.txt"
        file.write_bytes(content)
        error = refused_clearly(lambda: read_text(file))
        assert error is None or str(file) in str(error) or "block_size" in str(error)

    with watched(tmp_path):
        read()


def test_any_lines_of_json_are_read_or_refused(tmp_path: Path):
    rows = [{"text": text, "id": number} for number, text in enumerate(TEXTS)]
    good = [json.dumps(row).encode() for row in rows]
    line = json_bytes(rows[0]) | VALUES.map(lambda value: json.dumps({"text": value}).encode())
    odd = st.sampled_from(
        [b'{"text": 1e999}', b'{"text": NaN}', b'{"text": "a", "text": "b"}', b"{}", b"null", b'{"text": null}']
    )

    @cases(30)
    @given(changed=st.lists(line | odd, min_size=1, max_size=2), at=st.integers(0, 12), streaming=st.booleans())
    def read(changed: list[bytes], at: int, streaming: bool):
        file = tmp_path / "inside" / "tales.jsonl"
        file.write_bytes(b"\n".join([*good[:at], *changed, *good[at:]]))
        refused_clearly(lambda: read_text(file, streaming))

    with watched(tmp_path):
        read()


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"null\n", "line 1 is null"),
        (b"\xef\xbb\xbf  null\n", "line 1 is null"),
        (b'{"text": "a"}\n null\n', "line 2 is null"),
        (b'{"text": ["]"]} null\n', "line 1 is null"),
        (b'{"text": ' + b"[" * 10**6 + b"]" * 10**6 + b"}", "line 1 is nested more than 200 deep"),
        (b'{"a":\n' * 10**5 + b"1" + b"}" * 10**5, "line 201 is nested more than 200 deep"),
        (b'{"a": ["]]]"\n,' * 10**5, "nested more than 200 deep"),
    ],
)
def test_lines_that_end_arrows_reader_are_refused(tmp_path: Path, content: bytes, message: str, streaming: bool):
    """Reading most of them ends the whole process with a segmentation fault."""
    (tmp_path / "tales.jsonl").write_bytes(content + b'{"text": "a"}\n' * 9)
    with pytest.raises(ValueError, match=rf"tales\.jsonl' cannot be read: .*{message}"):
        load_text(str(tmp_path / "tales.jsonl"), streaming=streaming)


COLUMNS: dict[str, Any] = {
    "numbers": list(range(12)),
    "nothing": [None] * 12,
    "lists": [["a"]] * 12,
    "structures": [{"text": "a"}] * 12,
    "bytes": [b"\xff\xfe"] * 12,
    "late nothing": [*TEXTS[:6], *[None] * 5, "a mat"],
}


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("column", list(COLUMNS))
def test_tables_whose_column_is_no_text(tmp_path: Path, column: str, streaming: bool):
    file = tmp_path / "tales.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": COLUMNS[column]}), file)
    error = refused_clearly(lambda: read_text(file, streaming))
    if column == "late nothing":
        assert error is None
    else:
        assert error is not None
        assert str(file) in str(error)


def test_any_table_is_read_or_refused(tmp_path: Path):
    whole = BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"text": TEXTS}), whole)

    @cases(30)
    @given(content=damaged(whole.getvalue()), streaming=st.booleans())
    def read(content: bytes, streaming: bool):
        file = tmp_path / "inside" / "tales.parquet"
        file.write_bytes(content)
        refused_clearly(lambda: read_text(file, streaming))

    with watched(tmp_path):
        read()


def png(width: int, height: int, packed: bytes | None = None) -> bytes:
    """A grey PNG that declares a size, whatever its data."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(b"\0" * (width + 1) * height) if packed is None else packed
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def encoded(kind: str) -> bytes:
    buffer = BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of two whole images, and room for another."""
    root = tmp_path / "inside"
    for name in ("cat", "dog"):
        (root / "train" / name).mkdir(parents=True)
        for number in range(2):
            (root / "train" / name / f"{number}.png").write_bytes(png(6, 6))
    return root


ABSURD = {
    "bomb": lambda: png(20_000, 20_000, zlib.compress(b"\0" * 10**7)),
    "no pixel": lambda: png(0, 6, b""),
    "widest": lambda: png(2**31 - 1, 2**31 - 1, zlib.compress(b"")),
    "wide": lambda: png(10**6, 10**6, zlib.compress(b"")),
    "netpbm": lambda: b"P5 100000 100000 255\n" + b"\0" * 100,
    "text": lambda: b"not an image",
    "svg": lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><image href="/etc/passwd"/></svg>',
    "postscript": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(evil) run\n",
}


@pytest.mark.parametrize("what", list(ABSURD))
def test_images_that_are_none_or_absurd_are_left_out(folder: Path, tmp_path: Path, what: str):
    (folder / "train" / "cat" / "odd.png").write_bytes(ABSURD[what]())
    with watched(tmp_path):
        splits = load_images(str(folder))
    assert splits.skipped == 1
    assert len(splits.train) + len(splits.validation) == 4


def test_what_is_no_file_is_left_out_or_refused(folder: Path, tmp_path: Path):
    with watched(tmp_path):
        (folder / "train" / "cat" / "folder.png").mkdir()
        (folder / "train" / "dog" / "loop.png").symlink_to("loop.png")
        error = refused_clearly(lambda: load_images(str(folder)))
        assert error is None or str(folder) in str(error)
        (folder / "train" / "dog" / "loop.png").unlink()
        (folder / "train" / "dog" / "secret.png").symlink_to(tmp_path / "outside" / "treasure.safetensors")
        with pytest.raises(ValueError, match=r"secret\.png' is a link to .* which lies outside the dataset's folder"):
            load_images(str(folder))


def test_a_pipe_is_not_waited_for(folder: Path):
    os.mkfifo(folder / "train" / "cat" / "pipe.png")
    splits = load_images(str(folder))
    assert len(splits.train) + len(splits.validation) == 4


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "PPM", "TIFF"])
def test_any_image_is_read_or_left_out(folder: Path, tmp_path: Path, kind: str):
    whole = encoded(kind)

    @cases(12)
    @given(content=damaged(whole))
    def read(content: bytes):
        (folder / "train" / "cat" / "odd.png").write_bytes(content)
        splits: list[Any] = []
        assert refused_clearly(lambda: splits.append(load_images(str(folder)))) is None
        for image, _ in (splits[0].train[number] for number in range(len(splits[0].train))):
            assert image.mode == ("L" if splits[0].channels == 1 else "RGB")

    with watched(tmp_path):
        read()


def test_text_in_a_tokenizers_place(tmp_path: Path):
    """A folder that holds data, or a model, is no tokenizer."""
    texts = Dataset.from_dict({"text": TEXTS})
    folders: dict[str, Callable[[], bytes]] = {
        "tokenizer.json": lambda: b"[]",
        "vocab.json": lambda: b'{"a": 0}',
        "spiece.model": lambda: b"\x0a\x0e" * 50,
        "a.tiktoken": lambda: b"IQ== 0\n" * 3,
    }
    for name, content in folders.items():
        folder = tmp_path / "inside" / name
        with watched(tmp_path):
            folder.mkdir()
            (folder / name).write_bytes(content())
            error = refused_clearly(lambda folder=folder: load_tokenizer(str(folder), texts))
        assert error is not None
        assert str(folder) in str(error)
