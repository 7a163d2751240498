"""The Llama supernet: a real upstream model of the largest architecture, run with an architecture or a mixture as argument."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from knotwork_ops import (
    Architecture,
    Mixture,
    Selection,
    Width,
    embedding,
    linear,
    rms_norm,
    run_layers,
    take_columns,
    take_rows,
)
from torch import Tensor, nn
from torch.nn import functional as F

from knotwork_spaces._adapters import merged_state, weight_of
from knotwork_spaces._compile import compile_layer
from knotwork_spaces._language import LanguageModel
from knotwork_spaces.llama._attention import HeadNorms, Rotation, grouped_attention, rotation
from knotwork_spaces.llama._cost import llama_cost
from knotwork_spaces.llama._extract import slice_state_dict
from knotwork_spaces.llama._heads import Groups
from knotwork_spaces.llama._layout import llama_layout
from knotwork_spaces.llama._space import LlamaSpace
from knotwork_spaces.llama._upstream import CausalLM, check_upstream, plain_model


class LlamaSupernet(LanguageModel, nn.Module):
    """Every architecture of a ``LlamaSpace`` in one set of weights, named and shaped like the largest upstream model's.

    Args:
        space: the search space.
        upstream: a model of the largest architecture to take the weights of; freshly initialised when None.

    Raises:
        ValueError: an upstream model that is not what the space's largest architecture is.
    """

    # Upstream's module, whose attributes torch's types do not know.
    model: Any
    block_choices = LlamaSpace.per_layer_choices
    """The choices that say, with the widths that all share, how large one block is."""
    adapted_layers = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    """The linear maps that low-rank adapters go on, by the ends of their names."""

    def __init__(self, space: LlamaSpace, upstream: CausalLM | None = None) -> None:
        super().__init__()
        upstream = plain_model(space, space.largest) if upstream is None else upstream
        check_upstream(space, upstream)
        self.space = space
        self.model = upstream.model
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
        return llama_cost(self.space, arch) | {name: cost(arch) for name, cost in self.measured_costs.items()}

    def extract(self, arch: Architecture) -> CausalLM:
        """The plain upstream model of an architecture, with copies of this supernet's weights."""
        self.space.validate(arch)
        model = plain_model(self.space, arch, slice_state_dict(self.space, merged_state(self), arch))
        return model.train(self.training)

    def timed_blocks(self, model: Any) -> nn.ModuleList:
        """The blocks of an extracted model, in the order that they run in."""
        return model.model.layers

    def hidden(self, input_ids: Tensor, arch: Selection) -> tuple[Tensor, Width]:
        """What the head reads, (batch, tokens, embedding), and how it uses it."""
        self.check_tokens(input_ids)
        layout, model, tokens = llama_layout(self.space, arch), self.model, input_ids.shape[1]
        x = embedding(input_ids, model.embed_tokens.weight, layout.embed)
        rotations = [rotation(tokens, width, self.space.rope_theta, x) for width in layout.head_dims]
        run = (isinstance(arch, Mixture) and self._compiled_block) or self._block
        blocks: list[Callable[[Tensor], Tensor]] = [
            partial(run, model.layers[layer], embed=layout.embed, heads=heads, hidden=hidden, rotations=rotations)
            for layer, heads, hidden in zip(layout.layers, layout.heads, layout.hidden, strict=True)
        ]
        x = run_layers(x, blocks, layout.depth)
        return rms_norm(x, model.norm.weight, layout.embed, self.space.rms_norm_eps), layout.embed

    def _block(
        self, block: Any, x: Tensor, *, embed: Width, heads: Groups, hidden: Width, rotations: Sequence[Rotation]
    ) -> Tensor:
        attn, mlp, eps, units = block.self_attn, block.mlp, self.space.rms_norm_eps, heads.units
        norms = HeadNorms(attn.q_norm.weight, attn.k_norm.weight, eps) if self.space.model_type == "qwen3" else None
        y = rms_norm(x, block.input_layernorm.weight, embed, eps)
        q = linear(y, take_rows(weight_of(attn.q_proj), units.queries), None, inputs=embed)
        k = linear(y, take_rows(weight_of(attn.k_proj), units.keys), None, inputs=embed)
        v = linear(y, take_rows(weight_of(attn.v_proj), units.values), None, inputs=embed)
        y = grouped_attention(q, k, v, heads, rotations, norms)
        x = x + linear(y, take_columns(weight_of(attn.o_proj), units.outputs), None, outputs=embed)
        y = rms_norm(x, block.post_attention_layernorm.weight, embed, eps)
        gate = F.silu(linear(y, weight_of(mlp.gate_proj), None, inputs=embed, outputs=hidden))
        y = gate * linear(y, weight_of(mlp.up_proj), None, inputs=embed, outputs=hidden)
        return x + linear(y, weight_of(mlp.down_proj), None, inputs=hidden, outputs=embed)
