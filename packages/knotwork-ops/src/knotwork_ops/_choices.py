"""What can be searched: choices among ascending numbers or names, and the search space they span."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from knotwork_ops._architecture import Architecture, Option

DEPTH = "depth"
"""The choice of this name says how many layers are used; choices made per layer end where it ends."""

LARGEST_OPTION = 10**9
"""No width, count or ratio is larger; what is would overflow or exhaust memory long before."""
MOST_OPTIONS = 1000
"""Of one choice. What is mixed is mixed over all of them, and every one is compared with those of other choices."""
MOST_LAYERS = 10_000
"""Of a network. Each has modules and weights of its own, and an entry in every architecture."""


@dataclass(frozen=True)
class Choice:
    """One searchable dimension of a network.

    Attributes:
        name: the choice's name, such as ``embed_dim``.
        options: the values it may take: positive numbers, ascending, or names, such as those of operations, in the order of
            their cost.
        layers: the number of layers that choose separately, or None when one option serves the whole net.

    Raises:
        ValueError: no options or more than 1000, numbers that are not positive, distinct and ascending, names that are empty
            or not distinct, numbers beside names, or more than 10,000 layers.
    """

    name: str
    options: tuple[Option, ...]
    layers: int | None = None

    def __post_init__(self) -> None:
        if not self.options:
            raise ValueError(f"choice {self.name!r} has no options: give at least one")
        if len(self.options) > MOST_OPTIONS:
            raise ValueError(
                f"choice {self.name!r} has {len(self.options):,} options: at most {MOST_OPTIONS:,} can be compared"
            )
        if all(isinstance(option, str) for option in self.options):
            self._check_names()
        else:
            self._check_numbers()
        if self.layers is not None and (isinstance(self.layers, bool) or not isinstance(self.layers, int) or self.layers < 1):
            raise ValueError(f"choice {self.name!r} is made in {self.layers} layers: it must be a whole number from 1, or None")
        if self.layers is not None and self.layers > MOST_LAYERS:
            raise ValueError(f"choice {self.name!r} is made in {self.layers:,} layers: a network has at most {MOST_LAYERS:,}")

    def _check_names(self) -> None:
        if not all(self.options):
            raise ValueError(f"choice {self.name!r} has options {list(self.options)}: a name must not be empty")
        if len(set(self.options)) < len(self.options):
            raise ValueError(f"choice {self.name!r} has options {list(self.options)}: they must be distinct")

    def _check_numbers(self) -> None:
        numbers = self.numbers
        if any(o > LARGEST_OPTION for o in numbers):
            raise ValueError(f"choice {self.name!r} has an option over {LARGEST_OPTION:,}: {reprlib.repr(numbers[-1])}")
        if any(a >= b for a, b in pairwise(numbers)):
            raise ValueError(f"choice {self.name!r} has options {list(numbers)}: they must be distinct, ascending")

    @property
    def numbers(self) -> tuple[int | float, ...]:
        """The options of a choice among numbers. Raises ValueError when they are anything else."""
        numbers = tuple(o for o in self.options if isinstance(o, int | float) and not isinstance(o, bool) and 0 < o < math.inf)
        if len(numbers) < len(self.options):
            raise ValueError(f"choice {self.name!r} has options {list(self.options)}: they must be positive numbers")
        return numbers

    @property
    def per_layer(self) -> bool:
        return self.layers is not None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the choice's alphas and mixture weights: ``(options,)`` or ``(layers, options)``."""
        return (len(self.options),) if self.layers is None else (self.layers, len(self.options))

    def index(self, option: Option) -> int:
        """Position of an option. Raises ValueError that names the choice, the value and the allowed options."""
        if not isinstance(option, bool) and option in self.options:
            return self.options.index(option)
        raise ValueError(f"choice {self.name!r} cannot be {reprlib.repr(option)}: allowed are {list(self.options)}")


@dataclass(frozen=True)
class SearchSpace:
    """The choices of a network, in order; families of networks extend it with what their supernet needs.

    Raises:
        ValueError: two choices of one name, a per-layer ``depth`` or one of more than 10,000 layers, or per-layer choices whose
            number of layers is not the largest depth.
    """

    choices: tuple[Choice, ...]

    def __post_init__(self) -> None:
        names = [choice.name for choice in self.choices]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"choice {name!r} stands twice in the search space {names}")
        depth = self._choice_or_none(DEPTH)
        if depth is None:
            return
        if depth.per_layer or any(not isinstance(o, int) for o in depth.options):
            raise ValueError(f"choice {DEPTH!r} must be one whole number for the net, not {depth}")
        if depth.numbers[-1] > MOST_LAYERS:
            raise ValueError(
                f"choice {DEPTH!r} has the option {depth.numbers[-1]:,}: a network has at most {MOST_LAYERS:,} layers"
            )
        for choice in self.choices:
            if choice.layers not in (None, depth.options[-1]):
                raise ValueError(
                    f"choice {choice.name!r} is made in {choice.layers} layers, but the largest depth is {depth.options[-1]}"
                )

    def __iter__(self) -> Iterator[Choice]:
        return iter(self.choices)

    def __getitem__(self, name: str) -> Choice:
        choice = self._choice_or_none(name)
        if choice is None:
            raise KeyError(f"no choice {reprlib.repr(name)} in this search space: it has {[c.name for c in self.choices]}")
        return choice

    def __contains__(self, name: str) -> bool:
        return self._choice_or_none(name) is not None

    def _choice_or_none(self, name: str) -> Choice | None:
        return next((choice for choice in self.choices if choice.name == name), None)

    def layers_used(self, choice: Choice, values: Mapping[str, Any]) -> int | None:
        """How many layers of a per-layer choice an architecture fills: its depth. None for a uniform choice."""
        if choice.layers is None:
            return None
        return int(values[DEPTH]) if DEPTH in self else choice.layers

    def architecture(self, values: Mapping[str, Any]) -> Architecture:
        """A validated architecture from option values: a number or name, or for a per-layer choice one a layer.

        A single value for a per-layer choice means that option in every layer.

        Raises:
            ValueError: a choice is missing, unknown, given for the wrong number of layers, or not among its options. The
                message names the choice, the bad value and the allowed options.
        """
        if not isinstance(values, Mapping):
            raise ValueError(f"an architecture is a mapping of choices to options, not {reprlib.repr(values)}")
        unknown = [name for name in values if name not in self]
        if unknown:
            allowed = [choice.name for choice in self.choices]
            raise ValueError(
                f"unknown choice {reprlib.repr(unknown[0])} = {reprlib.repr(values[unknown[0]])}: this space has {allowed}"
            )
        for choice in self.choices:
            if choice.name not in values:
                raise ValueError(f"choice {choice.name!r} is missing: allowed are {list(choice.options)}")
        if DEPTH in self:
            self[DEPTH].index(values[DEPTH])
        return Architecture(tuple((c.name, self._value(c, values)) for c in self.choices))

    def _value(self, choice: Choice, values: Mapping[str, Any]) -> Option | tuple[Option, ...]:
        value, layers = values[choice.name], self.layers_used(choice, values)
        if layers is None:
            return choice.options[choice.index(value)]
        per_layer = tuple(value) if isinstance(value, list | tuple) else (value,) * layers
        if len(per_layer) != layers:
            raise ValueError(
                f"choice {choice.name!r} has {len(per_layer)} values {reprlib.repr(list(per_layer))} for {layers} layers: "
                "give one a layer"
            )
        return tuple(choice.options[choice.index(option)] for option in per_layer)

    def validate(self, architecture: Mapping[str, Any]) -> None:
        """Raise ValueError unless the architecture belongs to this space."""
        self.architecture(architecture)

    @property
    def largest(self) -> Architecture:
        """The architecture with the largest option everywhere; the last of names."""
        return self.architecture({choice.name: choice.options[-1] for choice in self.choices})

    @property
    def smallest(self) -> Architecture:
        """The architecture with the smallest option everywhere; the first of names."""
        return self.architecture({choice.name: choice.options[0] for choice in self.choices})

    def as_dict(self) -> dict[str, Any]:
        """The space as JSON values, for files and reports."""
        choices = {c.name: {"options": list(c.options), "layers": c.layers} for c in self.choices}
        return {"choices": choices}
