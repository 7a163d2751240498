"""The GPT-2 search space: which subnets there are, and the plain upstream configuration of each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from knotwork_ops import Architecture
from transformers import GPT2Config

from knotwork_spaces._settings import check_weights, check_whole, is_number
from knotwork_spaces._transformer_space import TransformerSpace
from knotwork_spaces.gpt2.modeling_per_layer_gpt2 import PerLayerGPT2Config


@dataclass(frozen=True)
class GPT2Space(TransformerSpace):
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
            units, a choice per layer that cannot be, a size that is not positive, or a largest net of over 1e11 weights.
    """

    vocab_size: int = 50257
    block_size: int = 1024
    eos_token_id: int | None = None
    dropout: float = 0.0
    initializer_range: float = 0.02

    family: ClassVar[str] = "gpt2"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_settings(self)
        embed, depth, ratio = (self[name].numbers[-1] for name in ("embed_dim", "depth", "mlp_ratio"))
        check_weights((self.vocab_size + self.block_size) * embed + depth * (4 + 2 * ratio) * embed**2)

    def config(self, architecture: Architecture) -> GPT2Config:
        """The upstream configuration of a subnet: stock GPT-2 when it is uniform, else ``PerLayerGPT2Config``.

        Raises:
            ValueError: an architecture that is not of this space.
        """
        self.validate(architecture)
        heads, inner = self.layer_heads(architecture), self.layer_hidden(architecture)
        common: dict[str, Any] = {
            "vocab_size": self.vocab_size,
            "n_positions": self.block_size,
            "n_embd": architecture["embed_dim"],
            "n_layer": architecture["depth"],
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


def _check_settings(space: GPT2Space) -> None:
    for name in ("vocab_size", "block_size"):
        check_whole(name, getattr(space, name))
    end = space.eos_token_id
    if end is not None and (isinstance(end, bool) or not isinstance(end, int) or not 0 <= end < space.vocab_size):
        raise ValueError(f"eos_token_id is {end!r}: it must be a token of the vocabulary of {space.vocab_size}, or None")
    if not is_number(space.dropout) or not 0 <= space.dropout < 1:
        raise ValueError(f"dropout is {space.dropout!r}: it must be at least 0 and below 1")
    if not is_number(space.initializer_range) or not 0 < space.initializer_range < math.inf:
        raise ValueError(f"initializer_range is {space.initializer_range!r}: it must be positive")
