"""The toy-cell search space: which operation each edge of the normal and of the reduction cell has."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

from knotwork_ops import LARGEST_OPTION, Choice, SearchSpace

from knotwork_spaces._settings import LARGEST_IMAGE, check_weights, check_whole, described, is_number
from knotwork_spaces.cells.toy_cell_network import CHOICES, OPERATIONS, pooled_size

SMALLEST_IMAGE = 5
"""Smaller ones leave the max-pooling nothing to pool."""
SMALLEST_WIDTH = 8
"""Narrower cells have so small pointwise convolutions that dil_conv_5x5 costs as much as sep_conv_3x3, which comes after it."""


@dataclass(frozen=True)
class ToyCellSpace(SearchSpace):
    """The cell space of TangleNAS' toy benchmark: 4,096 architectures, one of four operations on each of six edges.

    Build it with ``ToyCellSpace.build``.

    Attributes:
        choices: ``normal_0_1`` ... ``reduce_1_2``, the edges of both kinds of cell, in this order. Options are operations from
            the cheapest to the dearest.
        image_size: height and width of the images, in pixels.
        channels: of the images: 1 for grey, 3 for colour.
        num_classes: entries of the classifier.
        width: channels of the nodes of the first two cells; the last has twice as many.
        dropout: behind each cell and in the classifier, while training.

    Raises:
        ValueError: an unknown operation, operations in another order, a setting out of its range, or a largest net of over 1e11
            weights.
    """

    image_size: int = 28
    channels: int = 1
    num_classes: int = 10
    width: int = 32
    dropout: float = 0.2

    family: ClassVar[str] = "toy-cell"
    choice_names: ClassVar[tuple[str, ...]] = CHOICES
    per_layer_choices: ClassVar[tuple[str, ...]] = ()
    named_options: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for choice in self.choices:
            known = [name for name in OPERATIONS if name in choice.options]
            unknown = [option for option in choice.options if option not in OPERATIONS]
            if unknown:
                raise ValueError(f"choice {choice.name!r} has the operation {unknown[0]!r}: known are {list(OPERATIONS)}")
            if known != list(choice.options):
                raise ValueError(
                    f"choice {choice.name!r} has operations {list(choice.options)}: list them from the cheapest on, {known}"
                )
        for name, least in (("image_size", SMALLEST_IMAGE), ("channels", 1), ("num_classes", 1), ("width", SMALLEST_WIDTH)):
            check_whole(name, getattr(self, name), LARGEST_IMAGE if name == "image_size" else LARGEST_OPTION)
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be at least {least}")
        if not is_number(self.dropout) or not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout!r}: it must be at least 0 and below 1")
        hidden = 4 * self.width
        check_weights(hidden * (hidden * pooled_size(self.image_size) ** 2 + self.channels + self.num_classes))

    @classmethod
    def build(
        cls,
        *,
        normal_0_1: Sequence[str] = tuple(OPERATIONS),
        normal_0_2: Sequence[str] = tuple(OPERATIONS),
        normal_1_2: Sequence[str] = tuple(OPERATIONS),
        reduce_0_1: Sequence[str] = tuple(OPERATIONS),
        reduce_0_2: Sequence[str] = tuple(OPERATIONS),
        reduce_1_2: Sequence[str] = tuple(OPERATIONS),
        per_layer: Collection[str] = (),
        **settings: Any,
    ) -> Self:
        """A space from the operations allowed on every edge, by default all, and the family's settings.

        Raises:
            ValueError: as the class does, or a choice that is to be made per layer: there are no layers.
            TypeError: a setting that the family does not have.
        """
        for name in per_layer:
            raise ValueError(f"choice {name!r} cannot be made per layer: cells have edges, not layers")
        options = (normal_0_1, normal_0_2, normal_1_2, reduce_0_1, reduce_0_2, reduce_1_2)
        return cls(tuple(Choice(name, tuple(names)) for name, names in zip(CHOICES, options, strict=True)), **settings)

    @property
    def sizes(self) -> dict[str, Any]:
        """The settings, as the plain network takes them."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "choices"}

    def as_dict(self) -> dict[str, Any]:
        """The space as JSON values."""
        return described(self, super().as_dict())
