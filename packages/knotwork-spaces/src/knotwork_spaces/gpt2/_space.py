"""The GPT-2 search space: which subnets there are, and the plain upstream configuration of each."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from knotwork_ops import Architecture, Choice, SearchSpace, hidden_units
from transformers import GPT2Config

from knotwork_spaces.gpt2.modeling_per_layer_gpt2 import PerLayerGPT2Config


@dataclass(frozen=True)
class GPT2Space(SearchSpace):
    """A search space of GPT-2s: embedding width, depth, head count and MLP ratio.

    Build it with ``GPT2Space.build``; every combination in it is a valid GPT-2.

    Attributes:
        choices: ``embed_dim``, ``depth``, ``num_heads`` and ``mlp_ratio``, in this order.
        vocab_size: entries of the token embedding.
        block_size: the longest sequence, in tokens.
        eos_token_id: the tokenizer's end of text, written to the exported configuration.
        dropout: dropout probability of embeddings, attention and residual branches.
        initializer_range: standard deviation of the initial weights. GPT-2's 0.02 suits widths of 768 and more; narrow nets
            learn much faster from larger ones.

    Raises:
        ValueError: an embedding width that a head count does not divide, an MLP ratio that gives no whole number of hidden
            units, a choice per layer that cannot be, or a size that is not positive.
    """

    vocab_size: int = 50257
    block_size: int = 1024
    eos_token_id: int | None = None
    dropout: float = 0.0
    initializer_range: float = 0.02

    family: ClassVar[str] = "gpt2"
    choice_names: ClassVar[tuple[str, ...]] = ("embed_dim", "depth", "num_heads", "mlp_ratio")
    # The residual stream shares one embedding width, and depth is one number by nature.
    per_layer_choices: ClassVar[tuple[str, ...]] = ("num_heads", "mlp_ratio")

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_whole(self)
        _check_settings(self)
        for embed in self["embed_dim"].options:
            for heads in self["num_heads"].options:
                if embed % heads:
                    raise ValueError(
                        f"embed_dim {embed} is not divisible by num_heads {heads}: every width must be divisible by every "
                        f"head count, so change embed_dim {list(self['embed_dim'].options)} "
                        f"or num_heads {list(self['num_heads'].options)}"
                    )
            for ratio in self["mlp_ratio"].options:
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
        vocab_size: int = 50257,
        block_size: int = 1024,
        eos_token_id: int | None = None,
        dropout: float = 0.0,
        initializer_range: float = 0.02,
    ) -> GPT2Space:
        """A space from options; the choices named in ``per_layer`` are made by each layer alone. Raises as the class does."""
        for name in per_layer:
            if name not in cls.per_layer_choices:
                raise ValueError(f"choice {name!r} cannot be made per layer: only {list(cls.per_layer_choices)} can")
        options = {"embed_dim": embed_dim, "depth": depth, "num_heads": num_heads, "mlp_ratio": mlp_ratio}
        layers = max(depth, default=None)
        choices = tuple(Choice(name, tuple(values), layers if name in per_layer else None) for name, values in options.items())
        return cls(choices, vocab_size, block_size, eos_token_id, dropout, initializer_range)

    def config(self, architecture: Architecture) -> GPT2Config:
        """The upstream configuration of a subnet: stock GPT-2 when it is uniform, else ``PerLayerGPT2Config``.

        Raises:
            ValueError: an architecture that is not of this space.
        """
        self.validate(architecture)
        embed, depth = architecture["embed_dim"], architecture["depth"]
        heads = [int(architecture.at("num_heads", layer)) for layer in range(depth)]
        inner = [hidden_units(embed, architecture.at("mlp_ratio", layer)) for layer in range(depth)]
        common: dict[str, Any] = {
            "vocab_size": self.vocab_size,
            "n_positions": self.block_size,
            "n_embd": embed,
            "n_layer": depth,
            "n_head": heads[0],
            "n_inner": inner[0],
            "resid_pdrop": self.dropout,
            "embd_pdrop": self.dropout,
            "attn_pdrop": self.dropout,
            "initializer_range": self.initializer_range,
            "bos_token_id": self.eos_token_id,
            "eos_token_id": self.eos_token_id,
        }
        if architecture.uniform:
            return GPT2Config(**common)
        return PerLayerGPT2Config(**common, heads_per_layer=heads, inner_per_layer=inner)

    def as_dict(self) -> dict[str, Any]:
        """The space as JSON values."""
        return {
            "family": self.family,
            **super().as_dict(),
            "vocab_size": self.vocab_size,
            "block_size": self.block_size,
            "eos_token_id": self.eos_token_id,
            "dropout": self.dropout,
            "initializer_range": self.initializer_range,
        }


def _check_settings(space: GPT2Space) -> None:
    for name in ("vocab_size", "block_size"):
        value = getattr(space, name)
        if not _is_number(value, int) or value < 1:
            raise ValueError(f"{name} is {value!r}: it must be a positive whole number")
    end = space.eos_token_id
    if end is not None and (not _is_number(end, int) or not 0 <= end < space.vocab_size):
        raise ValueError(f"eos_token_id is {end!r}: it must be a token of the vocabulary of {space.vocab_size}, or None")
    if not _is_number(space.dropout, int | float) or not 0 <= space.dropout < 1:
        raise ValueError(f"dropout is {space.dropout!r}: it must be at least 0 and below 1")
    if not _is_number(space.initializer_range, int | float) or not 0 < space.initializer_range < math.inf:
        raise ValueError(f"initializer_range is {space.initializer_range!r}: it must be positive")


def _is_number(value: object, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _check_whole(space: SearchSpace) -> None:
    for name in ("embed_dim", "depth", "num_heads"):
        for option in space[name].options:
            if not isinstance(option, int):
                raise ValueError(f"choice {name!r} has the option {option!r}: it must be a whole number")
