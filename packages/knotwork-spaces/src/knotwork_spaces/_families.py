"""The families of networks by name. Each is one folder, imported only when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

_FAMILIES = {
    "gpt2": ("knotwork_spaces.gpt2", "GPT2Space", "GPT2Supernet"),
    "llama": ("knotwork_spaces.llama", "LlamaSpace", "LlamaSupernet"),
    "vit": ("knotwork_spaces.vit", "ViTSpace", "ViTSupernet"),
    "toy-cell": ("knotwork_spaces.cells", "ToyCellSpace", "ToyCellSupernet"),
}


class Family(NamedTuple):
    """What a family's folder offers.

    Attributes:
        space: the search space's class, with ``build``.
        supernet: the supernet's class, built from a space.
        plain_model: ``(space, architecture) -> nn.Module``, the plain upstream model, freshly initialised.
        plain_metrics: ``(model, batch) -> dict``, what the supernet's ``metrics`` are for a plain model; ``loss`` among them.
        load_pretrained: ``(name_or_folder, settings) -> Pretrained``, an upstream checkpoint; None where there are none.
        units: ``(space, model) -> Units``, what of a plain model can be ordered by importance; None where nothing can.
    """

    space: Any
    supernet: Any
    plain_model: Any
    plain_metrics: Any
    load_pretrained: Any
    units: Any


def family_names() -> list[str]:
    """The names that a space file's ``family`` may have."""
    return sorted(_FAMILIES)


def family(name: str) -> Family:
    """A family by name.

    Raises:
        ValueError: an unknown family.
        ImportError: the library that the family wraps is not installed; the message names the extra to install.
    """
    if name not in _FAMILIES:
        raise ValueError(f"unknown family {name!r}: known are {family_names()}")
    module, space, supernet = _FAMILIES[name]
    loaded = import_module(module)
    return Family(
        getattr(loaded, space),
        getattr(loaded, supernet),
        loaded.plain_model,
        loaded.plain_metrics,
        getattr(loaded, "load_pretrained", None),
        getattr(loaded, "units", None),
    )
