"""What the search spaces of transformers share: how choices become per layer, and the four that GPT-2s and ViTs have."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from knotwork_ops import DEPTH, Architecture, Choice, SearchSpace, hidden_units

from knotwork_spaces._layer_order import LayeredSpace
from knotwork_spaces._settings import described


def layered_choices(
    options: Mapping[str, Sequence[float]], per_layer: Collection[str], can_be: Sequence[str]
) -> tuple[Choice, ...]:
    """The choices of a network from their options; those named in ``per_layer`` are made by each layer alone.

    Raises:
        ValueError: a choice per layer that is not among those that ``can_be``.
    """
    for name in per_layer:
        if name not in can_be:
            raise ValueError(f"choice {name!r} cannot be made per layer: only {list(can_be)} can")
    layers: Any = max(options[DEPTH], default=None)
    return tuple(Choice(name, tuple(values), layers if name in per_layer else None) for name, values in options.items())


def check_whole_options(space: SearchSpace, names: Sequence[str]) -> None:
    """Raise ValueError for an option of these choices that is no whole number."""
    for name in names:
        for option in space[name].options:
            if not isinstance(option, int):
                raise ValueError(f"choice {name!r} has the option {option!r}: it must be a whole number")


@dataclass(frozen=True)
class TransformerSpace(LayeredSpace):
    """A search space over embedding width, depth, head count and MLP ratio; families add their settings as fields.

    Attributes:
        choices: ``embed_dim``, ``depth``, ``num_heads`` and ``mlp_ratio``, in this order.

    Raises:
        ValueError: a width, depth or head count that is no whole number, an embedding width that a head count does not divide
            though heads share it, an MLP ratio that gives no whole number of hidden units, or as ``LayeredSpace`` does.
    """

    family: ClassVar[str]
    choice_names: ClassVar[tuple[str, ...]] = ("embed_dim", "depth", "num_heads", "mlp_ratio")
    # The residual stream shares one embedding width, and depth is one number by nature.
    per_layer_choices: ClassVar[tuple[str, ...]] = ("num_heads", "mlp_ratio")
    named_options: ClassVar[bool] = False
    another_remedy: ClassVar[str] = ""
    """What else a family offers where a head count does not divide a width, for the error's last words."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole_options(self, ("embed_dim", "depth", "num_heads"))
        for embed in self["embed_dim"].numbers:
            for heads in self["num_heads"].numbers:
                if self.heads_share_embedding and embed % heads:
                    raise ValueError(
                        f"embed_dim {embed} is not divisible by num_heads {heads}: every width must be divisible by every "
                        f"head count, so change embed_dim {list(self['embed_dim'].options)} "
                        f"or num_heads {list(self['num_heads'].options)}{self.another_remedy}"
                    )
            for ratio in self["mlp_ratio"].numbers:
                hidden_units(int(embed), ratio)

    @classmethod
    def build(
        cls,
        *,
        embed_dim: Sequence[int],
        depth: Sequence[int],
        num_heads: Sequence[int],
        mlp_ratio: Sequence[float],
        per_layer: Collection[str] = (),
        **settings: Any,
    ) -> Self:
        """A space from options and the family's settings; the choices named in ``per_layer`` are made by each layer alone.

        Raises:
            ValueError: as the class does, or a choice that cannot be made per layer.
            TypeError: a setting that the family does not have.
        """
        options = {"embed_dim": embed_dim, "depth": depth, "num_heads": num_heads, "mlp_ratio": mlp_ratio}
        return cls(layered_choices(options, per_layer, cls.per_layer_choices), **settings)

    @property
    def heads_share_embedding(self) -> bool:
        """Whether a head's width is the embedding's over the head count, rather than one of its own."""
        return True

    def layer_heads(self, architecture: Architecture) -> list[int]:
        """The head count of each layer that an architecture uses, in the order that they run in."""
        return [int(architecture.at("num_heads", rank)) for rank in self.ranks(architecture["depth"])]

    def layer_hidden(self, architecture: Architecture) -> list[int]:
        """The hidden units of each layer's MLP."""
        embed = architecture["embed_dim"]
        return [hidden_units(embed, architecture.at("mlp_ratio", rank)) for rank in self.ranks(architecture["depth"])]

    def as_dict(self) -> dict[str, Any]:
        """The space as JSON values."""
        return described(self, super().as_dict())
