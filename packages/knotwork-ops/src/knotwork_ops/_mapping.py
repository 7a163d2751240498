"""Mappings of plain values from files that nobody vouches for: JSON or YAML, read whole and checked, or one clear error."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

MOST_BYTES = 64 * 2**20
"""Of a file: several times what the record of a long search with a front takes."""
MOST_VALUES = 2_000_000
"""In a file, values that a YAML alias repeats counted every time."""
DEEPEST = 64
"""Values within values. Python's own limit on recursion comes later, and at another depth in every caller."""
LARGEST_INTEGER = 2**63
"""Larger ones fit no count, and turn into errors of other kinds where they meet floats, tensors or text."""


def read_mapping(path: Path | str, parse: Callable[[str], Any] = json.loads, most_bytes: int = MOST_BYTES) -> dict[str, Any]:
    """The mapping that a file holds.

    Args:
        path: of the file.
        parse: from its text to plain values: ``json.loads`` or ``yaml.safe_load``.
        most_bytes: a larger file is not read.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no regular file or too large, or as ``parse_mapping`` does.
    """
    path = Path(path)
    if not path.stat().st_size <= most_bytes:
        raise ValueError(f"{path} has {path.stat().st_size:,} bytes: at most {most_bytes:,} are read")
    if not path.is_file():  # a pipe never ends, and a device has no size
        raise ValueError(f"{path} is no regular file")
    return parse_mapping(path.read_bytes(), str(path), parse)


def parse_mapping(text: str | bytes, source: str, parse: Callable[[str], Any] = json.loads) -> dict[str, Any]:
    """The mapping that a text describes.

    Args:
        text: UTF-8, where it is bytes.
        source: what the text is, for the error.
        parse: from text to plain values.

    Raises:
        ValueError: it cannot be parsed, is no mapping of names, or holds what JSON has not, more than 64 values within each
            other, two million values, or a whole number beyond 64 bits.
    """
    try:
        values = parse(text.decode("utf-8") if isinstance(text, bytes) else text)
    except Exception as error:  # yaml's constructors raise whatever a tag's value makes them; json, RecursionError as well
        raise ValueError(f"{source} cannot be read: {type(error).__name__}: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{source} is not a mapping of names to values, but {reprlib.repr(values)}")
    _check(values, source)
    return values


def _check(values: dict[str, Any], source: str) -> None:
    """Walk over all values, level by level. Raises ValueError as ``parse_mapping`` does."""
    level: list[Any] = [values]
    seen = 0
    for _ in range(DEEPEST):
        inner: list[Any] = []
        for value in level:
            for name in value if isinstance(value, dict) else ():
                if not isinstance(name, str):
                    raise ValueError(f"{source} has the key {reprlib.repr(name)}: keys must be names")
            for entry in value.values() if isinstance(value, dict) else value:
                if isinstance(entry, dict | list):
                    inner.append(entry)
                elif not isinstance(entry, str | int | float | None):
                    raise ValueError(f"{source} holds a {type(entry).__name__}: only what JSON has is read")
                elif isinstance(entry, int) and not -LARGEST_INTEGER <= entry < LARGEST_INTEGER:
                    raise ValueError(f"{source} holds a whole number of {entry.bit_length()} bits: at most 64 are read")
            seen += len(value)
            if seen > MOST_VALUES:
                raise ValueError(f"{source} holds more than {MOST_VALUES:,} values")
        if not inner:
            return
        level = inner
    raise ValueError(f"{source} has values more than {DEEPEST} deep within each other")
