"""Search spaces from files: presets and the user's own are the same YAML."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from knotwork_ops import Option, SearchSpace, read_mapping

from knotwork_spaces._families import family
from knotwork_spaces._settings import is_number

WIDTH = "embed_dim"
"""The choice whose options, when none is above one, can only be shares."""
MOST_BYTES = 2**20
"""Of a space's file; PyYAML reads about that much in a second."""
RECIPE: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("dataset", "tokenizer", "text_column", "augment"), (str,)),
    **dict.fromkeys(("max_steps", "batch_size", "block_size"), (int,)),
    **dict.fromkeys(("learning_rate", "arch_learning_rate"), (int, float)),
}
"""What a recipe may set, with its types: how to train, not where to write, upload to or load weights from."""
_GRANULARITIES = ("uniform", "per_layer")
_PRESETS = Path(__file__).parent / "presets"


@dataclass(frozen=True)
class SpaceDefinition:
    """What a space file says, before the tokenizer or the data completes it.

    Attributes:
        family: the family of networks, such as ``gpt2``.
        options: the options of every choice; or where all widths are at most one, the shares of a checkpoint's sizes.
        per_layer: the choices that each layer makes alone.
        settings: the family's other arguments, such as ``block_size``.
        recipe: suggested settings of a search in this space, which apps use where the user says nothing.
    """

    family: str
    options: Mapping[str, list[Option]]
    per_layer: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)

    @property
    def relative(self) -> bool:
        """Whether the options are shares of a checkpoint's sizes, such as ``embed_dim: [0.5, 0.75, 1.0]``."""
        return all(isinstance(option, int | float) and option <= 1 for option in self.options.get(WIDTH, [math.inf]))

    def build(self, **settings: Any) -> SearchSpace:
        """The search space; settings override the file's. Raises ValueError when it is impossible or a setting is unknown."""
        if self.relative:
            raise ValueError(f"{WIDTH} {self.options[WIDTH]} are shares of a checkpoint's: name one with --init-from")
        space = family(self.family).space
        try:
            return space.build(**self.options, per_layer=self.per_layer, **{**self.settings, **settings})
        except TypeError as error:
            raise ValueError(f"a {self.family} space does not fit these settings: {error}") from error

    def with_granularity(self, granularity: str) -> SpaceDefinition:
        """The same options with every choice that can be per layer made ``per_layer``, or all ``uniform``.

        Raises:
            ValueError: another granularity.
        """
        granularity = granularity.replace("-", "_")
        if granularity not in _GRANULARITIES:
            raise ValueError(f"unknown granularity {granularity!r}: known are {list(_GRANULARITIES)}")
        space = family(self.family).space
        per_layer = space.per_layer_choices if granularity == "per_layer" else ()
        return SpaceDefinition(self.family, self.options, tuple(per_layer), self.settings, self.recipe)


def preset_names() -> list[str]:
    """The named spaces that come with the package."""
    return sorted(path.stem for path in _PRESETS.glob("*.yaml"))


def presets_of(family: str) -> list[str]:
    """The presets of one family. Does not import it, nor any other."""
    files = {name: yaml.safe_load((_PRESETS / f"{name}.yaml").read_text(encoding="utf-8")) for name in preset_names()}
    return [name for name, values in files.items() if values["family"] == family]


def load_space(name_or_file: str) -> SpaceDefinition:
    """A preset by name, or a space from a YAML file.

    Raises:
        ValueError: no such preset or file, malformed YAML, or a file that does not define a space.
    """
    if name_or_file in preset_names():
        path = _PRESETS / f"{name_or_file}.yaml"
    elif name_or_file.endswith((".yaml", ".yml")):
        path = Path(name_or_file)
    else:
        raise ValueError(f"unknown space {name_or_file!r}: give a YAML file or one of the presets {preset_names()}")
    try:
        values = read_mapping(path, yaml.safe_load, MOST_BYTES)
    except OSError as error:
        raise ValueError(f"cannot read the space file {name_or_file!r}: {error}") from error
    return space_definition(values)


def space_definition(values: Any) -> SpaceDefinition:
    """A definition from the mapping that a YAML file holds.

    ``family`` names the family; a list, or a mapping with ``options`` and ``granularity`` (uniform or per_layer), is a choice;
    ``recipe`` is a mapping of search settings; everything else is a setting of the family.

    Raises:
        ValueError: not a mapping, no family, or a choice or recipe that is malformed.
    """
    if not isinstance(values, Mapping) or not all(isinstance(key, str) for key in values):
        raise ValueError(f"a space is a mapping that names its family and its choices, not {reprlib.repr(values)}")
    values = dict(values)
    name, recipe = values.pop("family", None), values.pop("recipe", {})
    if not isinstance(name, str):
        raise ValueError(f"a space must name its family, such as 'family: gpt2', not {reprlib.repr(name)}")
    _check_recipe(recipe)
    space = family(name).space
    options: dict[str, list[Option]] = {}
    per_layer: list[str] = []
    for choice in space.choice_names:
        if choice not in values:
            raise ValueError(f"choice {choice!r} is missing: a {name} space needs {list(space.choice_names)}")
        options[choice], granularity = _choice(choice, values.pop(choice), named=space.named_options)
        if granularity == "per_layer":
            per_layer.append(choice)
    return SpaceDefinition(name, options, tuple(per_layer), values, dict(recipe))


def _check_recipe(recipe: Any) -> None:
    if not isinstance(recipe, Mapping):
        raise ValueError(f"'recipe' is a mapping of search settings, not {reprlib.repr(recipe)}")
    for name, value in recipe.items():
        if name not in RECIPE:
            raise ValueError(f"'recipe' has the unknown key {reprlib.repr(name)}: it may set {list(RECIPE)}")
        if isinstance(value, bool) or not isinstance(value, RECIPE[name]):
            wanted = " or ".join(kind.__name__ for kind in RECIPE[name])
            raise ValueError(f"'recipe' has {name} {reprlib.repr(value)}: it must be of the type {wanted}")


def _choice(name: str, value: Any, *, named: bool) -> tuple[list[Option], str]:
    granularity = "uniform"
    if isinstance(value, Mapping):
        unknown = set(value) - {"options", "granularity"}
        if unknown:
            raise ValueError(f"choice {name!r} has the unknown keys {sorted(map(str, unknown))}: options, granularity")
        granularity, value = value.get("granularity", "uniform"), value.get("options")
    if granularity not in _GRANULARITIES:
        raise ValueError(f"choice {name!r} has granularity {reprlib.repr(granularity)}: known are {list(_GRANULARITIES)}")
    if not isinstance(value, list) or not value:
        raise ValueError(f"choice {name!r} needs a list of options, not {reprlib.repr(value)}")
    if not all(isinstance(option, str) if named else is_number(option) for option in value):
        raise ValueError(f"choice {name!r} has options {reprlib.repr(value)}: they must be {'names' if named else 'numbers'}")
    return value, granularity


def space_from_dict(values: Mapping[str, Any]) -> SearchSpace:
    """The space that ``as_dict`` described, as run folders keep it.

    Raises:
        ValueError: the mapping does not describe a space.
    """
    if not isinstance(values, Mapping) or not isinstance(values.get("choices"), Mapping):
        raise ValueError(f"a stored space has a family and choices, not {reprlib.repr(values)}")
    settings = {name: value for name, value in values.items() if name not in ("family", "choices")}
    choices: dict[str, Any] = {}
    for name, choice in values["choices"].items():
        if not isinstance(choice, Mapping):
            raise ValueError(f"choice {name!r} of a stored space has options and layers, not {reprlib.repr(choice)}")
        granularity = "uniform" if choice.get("layers") is None else "per_layer"
        choices[name] = {"options": choice.get("options"), "granularity": granularity}
    space = space_definition({"family": values.get("family"), **choices, **settings}).build()
    for choice in space:
        layers = values["choices"][choice.name].get("layers")
        if layers != choice.layers:
            raise ValueError(f"choice {choice.name!r} is made in {layers} layers, but the largest depth is {choice.layers}")
    return space
