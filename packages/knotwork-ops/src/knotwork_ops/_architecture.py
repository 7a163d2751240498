"""What was chosen: one option for every choice. The name of a subnet."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from knotwork_ops._mapping import parse_mapping

if TYPE_CHECKING:
    from knotwork_ops._choices import SearchSpace

Option = int | float | str
"""A size, or the name of an operation."""
Value = Option | tuple[Option, ...]


@dataclass(frozen=True)
class Architecture(Mapping[str, Any]):
    """One option for every choice, in the order of its search space: a hashable mapping that is JSON.

    A per-layer choice holds a tuple, as long as the architecture is deep. Build it with ``SearchSpace.architecture``, which
    validates, or with ``from_json``.
    """

    pairs: tuple[tuple[str, Value], ...]

    def __getitem__(self, name: str) -> Any:
        for key, value in self.pairs:
            if key == name:
                return value
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def at(self, name: str, layer: int) -> Any:
        """The option, a number or a name, that a layer uses, whether the choice is made once or per layer."""
        value = self[name]
        return value[layer] if isinstance(value, tuple) else value

    @property
    def uniform(self) -> bool:
        """Whether every layer chose the same options, so that one value a choice describes the net."""
        return all(not isinstance(value, tuple) or len(set(value)) <= 1 for _, value in self.pairs)

    def as_dict(self) -> dict[str, Any]:
        """The architecture as JSON values."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in self.pairs}

    def to_json(self) -> str:
        return json.dumps(self.as_dict())

    @classmethod
    def from_json(cls, text: str, space: SearchSpace) -> Architecture:
        """Read and validate an architecture.

        Raises:
            ValueError: the text is not a JSON object, or not an architecture of the space; the message says what is allowed.
        """
        return space.architecture(parse_mapping(text, "the JSON of an architecture"))

    def __str__(self) -> str:
        parts = []
        for name, value in self.pairs:
            shown = "/".join(map(str, value)) if isinstance(value, tuple) else str(value)
            parts.append(f"{name} {shown}")
        return ", ".join(parts)
