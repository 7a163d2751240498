"""Whatever a file holds, reading it gives an architecture, a mapping of plain values, or one clear error."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from knotwork_ops import LARGEST_OPTION, MOST_LAYERS, Architecture, Choice, SearchSpace, parse_mapping, read_mapping

from ..hostile import cases, json_bytes, refused_clearly

SPACE = SearchSpace(
    (Choice("embed", (2, 4)), Choice("depth", (1, 2)), Choice("ratio", (1, 3.5), 2), Choice("edge", ("conv", "pool")))
)
VALID = SPACE.largest.as_dict()


@cases(400)
@given(text=json_bytes(VALID).map(lambda content: content.decode("utf-8", "replace")) | st.text(max_size=40))
def test_any_text_is_an_architecture_or_an_error(text: str):
    found: list[Architecture] = []
    if not refused_clearly(lambda: found.append(Architecture.from_json(text, SPACE))):
        assert SPACE.architecture(found[0].as_dict()) == found[0]


@cases(300)
@given(content=json_bytes({"a": [1, {"b": "text"}], "c": None}))
def test_any_file_is_a_mapping_or_an_error_that_names_it(tmp_path: Path, content: bytes):
    file = tmp_path / "values.json"
    file.write_bytes(content)
    error = refused_clearly(lambda: read_mapping(file))
    assert error is None or str(file) in str(error)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "the file is not a mapping of names to values, but \\[1\\]"),
        ('{"a": %s}' % ("[" * 5000), "the file cannot be read: (Recursion|JSONDecode)Error"),
        ('{{"a": {}1{}}}'.format("[" * 70, "]" * 70), "the file has values more than 64 deep within each other"),
        ('{"a": 1%s}' % ("0" * 30), "the file holds a whole number of 100 bits: at most 64 are read"),
        ('{"a": 1%s}' % ("0" * 5000), "the file cannot be read: ValueError: Exceeds the limit"),
        (b"\xff", "the file cannot be read: UnicodeDecodeError"),
    ],
    ids=["list", "recursion", "deep", "integer", "digits", "bytes"],
)
def test_what_is_no_mapping_of_plain_values_is_refused(text: str, message: str):
    with pytest.raises(ValueError, match=message):
        parse_mapping(text, "the file")


def test_values_that_repeat_each_other_are_counted():
    shared: list = [1] * 10
    for _ in range(8):
        shared = [shared] * 10
    with pytest.raises(ValueError, match="the file holds more than 2,000,000 values"):
        parse_mapping("", "the file", lambda _: {"a": shared})
    endless: list = []
    endless.append(endless)
    with pytest.raises(ValueError, match="the file has values more than 64 deep"):
        parse_mapping("", "the file", lambda _: {"a": endless})


def test_what_is_no_file_of_bearable_size_is_not_read(tmp_path: Path):
    large = tmp_path / "large.json"
    with large.open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(ValueError, match=r"large\.json has 1,073,741,824 bytes: at most 67,108,864 are read"):
        read_mapping(large)
    os.mkfifo(tmp_path / "pipe.json")
    for name in (tmp_path / "pipe.json", "/dev/zero", tmp_path):
        with pytest.raises(ValueError, match=f"{name} is no regular file"):
            read_mapping(name)
    with pytest.raises(FileNotFoundError, match="none"):
        read_mapping(tmp_path / "none")


def test_spaces_that_nobody_can_build_are_refused():
    with pytest.raises(ValueError, match="choice 'embed' has 1,001 options: at most 1,000 can be compared"):
        Choice("embed", tuple(range(1, 1002)))
    with pytest.raises(ValueError, match="choice 'embed' has an option over 1,000,000,000: 1000000000000"):
        Choice("embed", (1, 10**12))
    with pytest.raises(ValueError, match="choice 'heads' is made in 10,001 layers: a network has at most 10,000"):
        Choice("heads", (1,), MOST_LAYERS + 1)
    with pytest.raises(ValueError, match="choice 'depth' has the option 1,000,000,000: a network has at most 10,000 layers"):
        SearchSpace((Choice("depth", (1, LARGEST_OPTION)),))
