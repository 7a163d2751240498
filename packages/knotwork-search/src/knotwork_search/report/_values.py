"""Loosely typed values of JSON and YAML files, read without trusting them.

A run folder may come from another version of the software, or from a run that was killed: whatever is missing or has
another type counts as absent, so that one odd value never costs the reader the whole page.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any


def number(value: object) -> float | None:
    """The finite number that `value` is, or None (booleans, NaN and infinities are not numbers here)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        as_float = float(value)
    except OverflowError:
        return None
    return as_float if math.isfinite(as_float) else None


def mapping(value: object) -> dict[str, Any]:
    """`value` if it is a mapping, with its keys as text; else an empty one."""
    return {str(key): entry for key, entry in value.items()} if isinstance(value, dict) else {}


def sequence(value: object) -> list[Any]:
    """`value` if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def numbers(value: object) -> dict[str, float]:
    """The entries of the mapping `value` that are finite numbers."""
    found = {name: number(entry) for name, entry in mapping(value).items()}
    return {name: entry for name, entry in found.items() if entry is not None}


def all_keys(mappings: Iterable[Any], *, any_value: bool = False) -> list[str]:
    """The keys of all `mappings` in order of appearance; without `any_value` only those of numbers."""
    found: dict[str, None] = {}
    for entry in mappings:
        found.update(dict.fromkeys(mapping(entry) if any_value else numbers(entry)))
    return list(found)
