"""What the search spaces of transformers share: the four choices, and what makes a combination of them possible."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from knotwork_ops import Architecture, Choice, SearchSpace, hidden_units

from knotwork_spaces._settings import described


@dataclass(frozen=True)
class TransformerSpace(SearchSpace):
    """A search space over embedding width, depth, head count and MLP ratio; families add their settings as fields.

    Attributes:
        choices: ``embed_dim``, ``depth``, ``num_heads`` and ``mlp_ratio``, in this order.
        layer_order: the supernet's layers, those first that the shallower nets keep; None where they keep the first. What is
            chosen per layer follows this order: its n-th entry is the layer's that is n-th here.

    Raises:
        ValueError: a width, depth or head count that is no whole number, an embedding width that a head count does not divide
            though heads share it, an MLP ratio that gives no whole number of hidden units, or a layer order that does not
            name every layer once.
    """

    layer_order: tuple[int, ...] | None = None

    family: ClassVar[str]
    choice_names: ClassVar[tuple[str, ...]] = ("embed_dim", "depth", "num_heads", "mlp_ratio")
    # The residual stream shares one embedding width, and depth is one number by nature.
    per_layer_choices: ClassVar[tuple[str, ...]] = ("num_heads", "mlp_ratio")
    named_options: ClassVar[bool] = False
    another_remedy: ClassVar[str] = ""
    """What else a family offers where a head count does not divide a width, for the error's last words."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layer_order is not None:
            object.__setattr__(self, "layer_order", checked_order(self.layer_order, self["depth"].options[-1]))
        for name in ("embed_dim", "depth", "num_heads"):
            for option in self[name].options:
                if not isinstance(option, int):
                    raise ValueError(f"choice {name!r} has the option {option!r}: it must be a whole number")
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
        for name in per_layer:
            if name not in cls.per_layer_choices:
                raise ValueError(f"choice {name!r} cannot be made per layer: only {list(cls.per_layer_choices)} can")
        options = {"embed_dim": embed_dim, "depth": depth, "num_heads": num_heads, "mlp_ratio": mlp_ratio}
        layers = max(depth, default=None)
        choices = tuple(Choice(name, tuple(values), layers if name in per_layer else None) for name, values in options.items())
        return cls(choices, **settings)

    @property
    def heads_share_embedding(self) -> bool:
        """Whether a head's width is the embedding's over the head count, rather than one of its own."""
        return True

    def ranks(self, depth: int) -> list[int]:
        """The places in ``layer_order`` of the layers that a net of this depth keeps, in the order that they run in."""
        if self.layer_order is None:
            return list(range(depth))
        return sorted(range(depth), key=self.layer_order.__getitem__)

    def layer(self, rank: int) -> int:
        """The supernet's layer at a place of ``layer_order``."""
        return rank if self.layer_order is None else self.layer_order[rank]

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


def checked_order(order: Any, layers: Any) -> tuple[int, ...]:
    """A layer order as a tuple. Raises ValueError when it does not name each of the layers once."""
    if not isinstance(order, Sequence) or any(isinstance(n, bool) or not isinstance(n, int) for n in order):
        raise ValueError(f"layer_order is {order!r}: it must list the layers 0 to {layers - 1}")
    if sorted(order) != list(range(layers)):
        raise ValueError(f"layer_order is {list(order)}: it must name each of the layers 0 to {layers - 1} once")
    return tuple(order)
