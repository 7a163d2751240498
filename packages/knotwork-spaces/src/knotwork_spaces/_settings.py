"""The settings of a search space, beside its choices: what they must be, and how they are written down."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from knotwork_ops import LARGEST_OPTION

MOST_WEIGHTS = 10**11
"""Of a network: 400 GB in float32, before gradients and optimiser."""
LARGEST_IMAGE = 2**14
"""Pixels a side: 3 GB in colour and float32."""


def check_whole(name: str, value: object, most: int = LARGEST_OPTION) -> None:
    """Raise ValueError for a setting that is no positive whole number, or is larger than any can be."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} is {reprlib.repr(value)}: it must be a positive whole number")
    if value > most:
        raise ValueError(f"{name} is {reprlib.repr(value)}: it must be at most {most:,}")


def check_weights(weights: float) -> None:
    """Raise ValueError when the largest network has more weights than fit any memory.

    Args:
        weights: how many it has, but for those that do not matter.
    """
    if weights > MOST_WEIGHTS:
        raise ValueError(
            f"the largest network of the space has about {float(weights):.2g} weights, but at most {MOST_WEIGHTS:.0e} are "
            "built: give smaller options"
        )


def is_number(value: object) -> bool:
    """Whether a setting is a number; truth values are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def described(space: Any, choices: Mapping[str, Any]) -> dict[str, Any]:
    """A family's space as JSON values: its name, its choices as ``SearchSpace.as_dict`` gives them, and every setting."""
    settings = {field.name: getattr(space, field.name) for field in fields(space) if field.name != "choices"}
    return {"family": space.family, **choices, **settings}
