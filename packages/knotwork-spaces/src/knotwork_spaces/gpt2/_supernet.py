"""The GPT-2 supernet: a real GPT2LMHeadModel of the largest architecture, run with an architecture or a mixture as argument."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from knotwork_ops import (
    Architecture,
    Heads,
    Mixture,
    Selection,
    Width,
    attention,
    conv1d,
    embedding,
    head_width,
    layer_norm,
    run_layers,
)
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import GPT2LMHeadModel

from knotwork_spaces._adapters import merged_state, weight_of
from knotwork_spaces._compile import compile_layer
from knotwork_spaces._language import LanguageModel
from knotwork_spaces._layout import transformer_layout
from knotwork_spaces.gpt2._cost import gpt2_cost
from knotwork_spaces.gpt2._extract import plain_model, slice_state_dict
from knotwork_spaces.gpt2._space import GPT2Space
from knotwork_spaces.gpt2.modeling_per_layer_gpt2 import PerLayerGPT2LMHeadModel


class GPT2Supernet(LanguageModel, nn.Module):
    """Every architecture of a ``GPT2Space`` in one set of weights, named and shaped like the largest upstream model's.

    Args:
        space: the search space.
        upstream: a model of the largest architecture to take the weights of; freshly initialised when None.

    Raises:
        ValueError: an upstream model that is not what the space's largest architecture is.
    """

    # Upstream's module, whose attributes torch's types do not know.
    transformer: Any
    block_choices = GPT2Space.per_layer_choices
    """The choices that say, with the width that all share, how large one block is."""
    adapted_layers = ("c_attn", "c_proj", "c_fc")
    """The linear maps that low-rank adapters go on, by the ends of their names."""

    def __init__(self, space: GPT2Space, upstream: GPT2LMHeadModel | None = None) -> None:
        super().__init__()
        upstream = plain_model(space, space.largest) if upstream is None else upstream
        _check_upstream(space, upstream)
        self.space = space
        self.transformer = upstream.transformer
        self.lm_head = upstream.lm_head
        self.measured_costs: dict[str, Callable[[Mixture | Architecture], Tensor]] = {}
        self._compiled_block: Callable[..., Tensor] | None = None

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile the blocks of a mixture's pass. Single architectures stay as they are: each would be compiled anew."""
        self._compiled_block = compile_layer(self._block, *args, **kwargs)

    def cost(self, arch: Mixture | Architecture) -> dict[str, Tensor]:
        """Exact ``params`` and ``flops`` per token; expected, and differentiable, under a mixture.

        What is measured rather than computed, such as the latency on a device, is told by ``measured_costs``.
        """
        return gpt2_cost(self.space, arch) | {name: cost(arch) for name, cost in self.measured_costs.items()}

    def extract(self, arch: Architecture) -> GPT2LMHeadModel:
        """The plain upstream model of an architecture, with copies of this supernet's weights."""
        self.space.validate(arch)
        model = plain_model(self.space, arch, slice_state_dict(self.space, merged_state(self), arch))
        return model.train(self.training)

    def timed_blocks(self, model: GPT2LMHeadModel) -> nn.ModuleList:
        """The blocks of an extracted model, in the order that they run in."""
        return model.transformer.h

    def hidden(self, input_ids: Tensor, arch: Selection) -> tuple[Tensor, Width]:
        """What the head reads, (batch, tokens, embedding), and how it uses it."""
        self.check_tokens(input_ids)
        layout = transformer_layout(self.space, arch)
        transformer, embed = self.transformer, layout.embed
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        x = embedding(input_ids, transformer.wte.weight, embed) + embedding(positions, transformer.wpe.weight, embed)
        x = self._dropout(x)
        run = (isinstance(arch, Mixture) and self._compiled_block) or self._block
        blocks: list[Callable[[Tensor], Tensor]] = [
            partial(run, transformer.h[layer], embed=embed, heads=heads, hidden=hidden)
            for layer, heads, hidden in zip(layout.layers, layout.heads, layout.hidden, strict=True)
        ]
        x = run_layers(x, blocks, layout.depth)
        norm = transformer.ln_f
        return layer_norm(x, norm.weight, norm.bias, embed, norm.eps), embed

    def _block(self, block: Any, x: Tensor, *, embed: Width, heads: Heads, hidden: Width) -> Tensor:
        size, attn, mlp = int(self.space["embed_dim"].options[-1]), block.attn, block.mlp
        y = layer_norm(x, block.ln_1.weight, block.ln_1.bias, embed, block.ln_1.eps)
        joint = head_width(embed, heads, size, parts=3)
        q, k, v = conv1d(y, weight_of(attn.c_attn), attn.c_attn.bias, inputs=embed, outputs=joint).chunk(3, -1)
        y = attention(q, k, v, embed, heads, causal=True, dropout=self.space.dropout if self.training else 0.0)
        y = conv1d(y, weight_of(attn.c_proj), attn.c_proj.bias, inputs=head_width(embed, heads, size), outputs=embed)
        x = x + self._dropout(y)
        y = layer_norm(x, block.ln_2.weight, block.ln_2.bias, embed, block.ln_2.eps)
        y = F.gelu(conv1d(y, weight_of(mlp.c_fc), mlp.c_fc.bias, inputs=embed, outputs=hidden), approximate="tanh")
        y = conv1d(y, weight_of(mlp.c_proj), mlp.c_proj.bias, inputs=hidden, outputs=embed)
        return x + self._dropout(y)

    def _dropout(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.space.dropout, self.training) if self.space.dropout else x


SAME_AS_UPSTREAM = (
    "vocab_size",
    "n_positions",
    "n_embd",
    "n_layer",
    "n_head",
    "n_inner",
    "activation_function",
    "layer_norm_epsilon",
    "scale_attn_weights",
    "scale_attn_by_inverse_layer_idx",
    "add_cross_attention",
    "tie_word_embeddings",
)
"""What an upstream model must share with the space's largest architecture to compute the same function."""


def _check_upstream(space: GPT2Space, upstream: GPT2LMHeadModel) -> None:
    wanted, config = space.config(space.largest), upstream.config
    if isinstance(upstream, PerLayerGPT2LMHeadModel):
        raise ValueError("the upstream model is a PerLayerGPT2LMHeadModel: a supernet wraps a stock GPT2LMHeadModel")
    for name in SAME_AS_UPSTREAM:
        given = getattr(config, name)
        if name == "n_inner" and given is None:
            given = 4 * config.n_embd
        if given != getattr(wanted, name):
            raise ValueError(
                f"the upstream model has {name} {given!r}, but the space's largest architecture {getattr(wanted, name)!r}"
            )
