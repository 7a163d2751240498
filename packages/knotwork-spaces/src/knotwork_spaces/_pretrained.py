"""A search that starts from an upstream checkpoint: the space is given in shares of it, or has it as largest architecture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from knotwork_ops import DEPTH, Option

from knotwork_spaces._families import family
from knotwork_spaces._yaml import SpaceDefinition


@dataclass(frozen=True)
class Pretrained:
    """An upstream checkpoint, read to be the largest architecture of a space.

    Attributes:
        model: the plain upstream model with the checkpoint's weights, in float32.
        sizes: by choice, what the checkpoint has.
        settings: of the family's space, whatever the options say.
        preparation: of its input, by the names of timm's ``pretrained_cfg``; empty for text.
    """

    model: Any
    sizes: Mapping[str, int | float]
    settings: Mapping[str, Any]
    preparation: Mapping[str, Any] = field(default_factory=dict)


def load_pretrained(definition: SpaceDefinition, name_or_folder: str, **settings: Any) -> tuple[SpaceDefinition, Pretrained]:
    """A checkpoint, and the space around it.

    Args:
        definition: options that are shares of the checkpoint's sizes, such as ``embed_dim: [0.5, 0.75, 1.0]`` (shares of the
            depth are rounded to whole layers), or absolute ones of which the largest are the checkpoint's.
        name_or_folder: what the upstream library loads: a folder, or a name on the Hub.
        settings: what else the space is to have, over the definition's, such as a ``block_size`` below the checkpoint's.

    Returns:
        The definition with absolute options and the checkpoint's settings, and the checkpoint.

    Raises:
        ValueError: a checkpoint that cannot be read or lacks weights, of another family, or that does not fit the options.
    """
    loaded = family(definition.family).load_pretrained
    if loaded is None:
        raise ValueError(f"no upstream library has checkpoints of the family {definition.family!r}: search without --init-from")
    wanted = {**definition.settings, **settings}
    pretrained = loaded(name_or_folder, wanted)
    options = {name: _absolute(definition, name, size) for name, size in pretrained.sizes.items()}
    return replace(definition, options=options, settings={**wanted, **pretrained.settings}), pretrained


def _absolute(definition: SpaceDefinition, name: str, size: int | float) -> list[Option]:
    given = definition.options[name]
    largest = 1 if definition.relative else size
    if given[-1] != largest:
        raise ValueError(
            f"the largest option of {name!r} is {given[-1]}, but the checkpoint has {size}: it is the largest architecture, "
            f"so the last option must be {largest}" + (", the whole of it" if definition.relative else "")
        )
    # Of few layers two shares may round to one depth.
    return list(dict.fromkeys(_share(name, option, size) for option in given)) if definition.relative else given


def _share(name: str, share: Any, size: int | float) -> int | float:
    value = share * size
    if name == DEPTH:
        return max(1, round(value))
    if abs(value - round(value)) < 1e-6:
        return round(value)
    if isinstance(size, int) and name != "mlp_ratio":
        raise ValueError(f"{name} {share} of the checkpoint's {size} is {value:g}: choose a share that gives a whole number")
    return value
