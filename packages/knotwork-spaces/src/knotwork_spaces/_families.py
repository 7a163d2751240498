"""The families of networks by name. Each is one folder, imported only when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_FAMILIES = {"gpt2": ("knotwork_spaces.gpt2", "GPT2Space", "GPT2Supernet")}


def family_names() -> list[str]:
    """The names that a space file's ``family`` may have."""
    return sorted(_FAMILIES)


def family(name: str) -> tuple[Any, Any]:
    """The space class and the supernet class of a family.

    Raises:
        ValueError: an unknown family.
        ImportError: the library that the family wraps is not installed; the message names the extra to install.
    """
    if name not in _FAMILIES:
        raise ValueError(f"unknown family {name!r}: known are {family_names()}")
    module, space, supernet = _FAMILIES[name]
    loaded = import_module(module)
    return getattr(loaded, space), getattr(loaded, supernet)
