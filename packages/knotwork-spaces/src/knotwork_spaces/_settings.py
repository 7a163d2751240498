"""The settings of a search space, beside its choices: what they must be, and how they are written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any


def check_whole(name: str, value: object) -> None:
    """Raise ValueError for a setting that is no positive whole number."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} is {value!r}: it must be a positive whole number")


def is_number(value: object) -> bool:
    """Whether a setting is a number; truth values are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def described(space: Any, choices: Mapping[str, Any]) -> dict[str, Any]:
    """A family's space as JSON values: its name, its choices as ``SearchSpace.as_dict`` gives them, and every setting."""
    settings = {field.name: getattr(space, field.name) for field in fields(space) if field.name != "choices"}
    return {"family": space.family, **choices, **settings}
