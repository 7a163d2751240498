"""The ViT supernet: a real timm VisionTransformer of the largest architecture, run with an architecture or a mixture."""

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
    columns,
    conv2d,
    fixed_head_attention,
    fixed_head_width,
    head_width,
    layer_norm,
    linear,
    run_layers,
)
from timm.models.vision_transformer import VisionTransformer, global_pool_nlc
from torch import Tensor, nn

from knotwork_spaces._adapters import merged_state, weight_of
from knotwork_spaces._classification import Classifier
from knotwork_spaces._compile import compile_layer
from knotwork_spaces._layout import transformer_layout
from knotwork_spaces.vit._cost import vit_cost
from knotwork_spaces.vit._extract import slice_state_dict
from knotwork_spaces.vit._space import ViTSpace
from knotwork_spaces.vit._upstream import check_supported, plain_model

TABLES = ("cls_token", "reg_token", "pos_embed")
"""Parameters that timm's model holds itself; None where it has none."""
SETTINGS = ("num_classes", "global_pool", "no_embed_class", "num_prefix_tokens", "pool_include_prefix")
"""What timm's model notes beside its modules, and its computation depends on."""


class ViTSupernet(Classifier, nn.Module):
    """Every architecture of a ``ViTSpace`` in one set of weights, named and shaped like the largest timm model's.

    Args:
        space: the search space.
        upstream: a model of the largest architecture to take the weights of; freshly initialised when None.

    Raises:
        ValueError: a model that is not what the space's largest architecture is, or that cannot be mixed.
    """

    # The upstream's modules, whose attributes torch's types do not know.
    patch_embed: Any
    cls_token: Tensor | None
    reg_token: Tensor | None
    pos_embed: Tensor | None
    pos_drop: Any
    patch_drop: Any
    norm_pre: Any
    blocks: Any
    norm: Any
    fc_norm: Any
    head_drop: Any
    head: Any
    global_pool: str
    no_embed_class: bool
    num_prefix_tokens: int
    pool_include_prefix: bool
    block_choices = ViTSpace.per_layer_choices
    """The choices that say, with the width that all share, how large one block is."""
    adapted_layers = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    """The linear maps that low-rank adapters go on, by the ends of their names."""
    trained_layers = ("head",)
    """What is trained beside adapters: the classifier, whose classes may be new ones."""

    def __init__(self, space: ViTSpace, upstream: VisionTransformer | None = None) -> None:
        super().__init__()
        upstream = plain_model(space, space.largest) if upstream is None else upstream
        _check_upstream(space, upstream)
        self.space = space
        # The upstream's modules and tables become this module's own, so that parameters have timm's names.
        for name, module in upstream.named_children():
            self.add_module(name, module)
        for name in TABLES:
            self.register_parameter(name, getattr(upstream, name))
        for name in SETTINGS:
            setattr(self, name, getattr(upstream, name))
        self.measured_costs: dict[str, Callable[[Mixture | Architecture], Tensor]] = {}
        self._compiled_branches: tuple[Callable[..., Tensor], Callable[..., Tensor]] | None = None

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile the branches of a mixture's blocks. Single architectures stay as they are: each would be compiled anew."""
        # Not whole blocks: what differs from layer to layer, the rates of stochastic depth, would be compiled for each.
        attention = compile_layer(self._attention, *args, **kwargs)
        # Most of what a ViT keeps, more than a plain one when masked weights come on top. GPT-2 saves more on its logits.
        self._compiled_branches = attention, compile_layer(self._mlp, *args, recompute=True, **kwargs)

    def logits(self, image: Tensor, arch: Selection) -> Tensor:
        """Class logits.

        Args:
            image: (batch, channels, height, width), of the space's image size.
            arch: the mixture, hard sample or architecture to run.

        Returns:
            (batch, classes).

        Raises:
            ValueError: images of another size, or an architecture of another space.
        """
        self.check_images(image)
        layout = transformer_layout(self.space, arch)
        x = self._norm(self.norm_pre, self.patch_drop(self._embedded(image, layout.embed)), layout.embed)
        compiled = self._compiled_branches if isinstance(arch, Mixture) else None
        attention, mlp = compiled or (self._attention, self._mlp)
        blocks: list[Callable[[Tensor], Tensor]] = [
            partial(
                _block,
                self.blocks[layer],
                attention=partial(attention, self.blocks[layer], embed=layout.embed, heads=heads),
                mlp=partial(mlp, self.blocks[layer], embed=layout.embed, hidden=hidden),
            )
            for layer, heads, hidden in zip(layout.layers, layout.heads, layout.hidden, strict=True)
        ]
        x = self._norm(self.norm, run_layers(x, blocks, layout.depth), layout.embed)
        x = global_pool_nlc(x, self.global_pool, self.num_prefix_tokens, self.pool_include_prefix)
        x = self.head_drop(self._norm(self.fc_norm, x, layout.embed))
        return linear(x, self.head.weight, self.head.bias, inputs=layout.embed)

    def cost(self, arch: Mixture | Architecture) -> dict[str, Tensor]:
        """Exact ``params``, ``flops`` and ``macs`` per image; expected, and differentiable, under a mixture.

        What is measured rather than computed, such as the latency on a device, is told by ``measured_costs``.
        """
        return vit_cost(self.space, self, arch) | {name: cost(arch) for name, cost in self.measured_costs.items()}

    def extract(self, arch: Architecture) -> VisionTransformer:
        """The plain timm model of an architecture, with copies of this supernet's weights."""
        self.space.validate(arch)
        model = plain_model(self.space, arch, slice_state_dict(self.space, merged_state(self), arch))
        return model.train(self.training)

    def timed_blocks(self, model: VisionTransformer) -> Any:
        """The blocks of an extracted model, in the order that they run in."""
        return model.blocks

    def timed_input(self) -> dict[str, Tensor]:
        """Keyword arguments of an extracted model's pass over one image: ``x``, (1, channels, height, width)."""
        shape = (1, self.space.channels, self.space.image_size, self.space.image_size)
        return {"x": torch.randn(shape, generator=torch.Generator().manual_seed(0))}

    def _embedded(self, image: Tensor, embed: Width) -> Tensor:
        """Patches with their positions, behind class and register tokens."""
        proj = self.patch_embed.proj
        x = conv2d(image, proj.weight, proj.bias, embed, stride=proj.stride).flatten(2).transpose(1, 2)
        tokens = [table for table in (self.cls_token, self.reg_token) if table is not None]
        prefix = [columns(table, embed).expand(len(x), -1, -1) for table in tokens]
        positions = None if self.pos_embed is None else columns(self.pos_embed, embed)
        if positions is not None and self.no_embed_class:
            x = x + positions
        x = torch.cat([*prefix, x], 1) if prefix else x
        if positions is not None and not self.no_embed_class:
            x = x + positions
        return self.pos_drop(x) if positions is not None else x

    def _attention(self, block: Any, x: Tensor, embed: Width, heads: Heads) -> Tensor:
        attn, head_dim = block.attn, self.space.head_dim
        size = attn.qkv.out_features // 3
        dropout = attn.attn_drop.p if self.training else 0.0
        joint = head_width(embed, heads, size, 3) if head_dim is None else fixed_head_width(heads, head_dim, size, 3)
        y = linear(self._norm(block.norm1, x, embed), weight_of(attn.qkv), attn.qkv.bias, inputs=embed, outputs=joint)
        q, k, v = y.chunk(3, -1)
        if head_dim is None:
            y, units = attention(q, k, v, embed, heads, causal=False, dropout=dropout), head_width(embed, heads, size)
        else:
            y = fixed_head_attention(q, k, v, heads, head_dim, causal=False, dropout=dropout)
            units = fixed_head_width(heads, head_dim, size)
        y = attn.proj_drop(linear(y, weight_of(attn.proj), attn.proj.bias, inputs=units, outputs=embed))
        return self._scale(block.ls1, y, embed)

    def _mlp(self, block: Any, x: Tensor, embed: Width, hidden: Width) -> Tensor:
        mlp = block.mlp
        y = self._norm(block.norm2, x, embed)
        y = mlp.drop1(mlp.act(linear(y, weight_of(mlp.fc1), mlp.fc1.bias, inputs=embed, outputs=hidden)))
        y = mlp.drop2(linear(y, weight_of(mlp.fc2), mlp.fc2.bias, inputs=hidden, outputs=embed))
        return self._scale(block.ls2, y, embed)

    def _norm(self, norm: Any, x: Tensor, embed: Width) -> Tensor:
        return x if isinstance(norm, nn.Identity) else layer_norm(x, norm.weight, norm.bias, embed, norm.eps)

    def _scale(self, scale: Any, x: Tensor, embed: Width) -> Tensor:
        return x if isinstance(scale, nn.Identity) else x * columns(scale.gamma, embed)


def _block(block: Any, x: Tensor, *, attention: Callable[[Tensor], Tensor], mlp: Callable[[Tensor], Tensor]) -> Tensor:
    """A pre-norm block: each branch reads the stream, and adds to it unless stochastic depth drops it."""
    x = x + block.drop_path1(attention(x))
    return x + block.drop_path2(mlp(x))


def _check_upstream(space: ViTSpace, upstream: VisionTransformer) -> None:
    check_supported(space.model, upstream)
    with torch.device("meta"):
        wanted = plain_model(space, space.largest)
    shapes, given = ({name: tuple(t.shape) for name, t in m.state_dict().items()} for m in (wanted, upstream))
    for name in [*shapes, *(name for name in given if name not in shapes)]:
        if shapes.get(name) != given.get(name):
            raise ValueError(
                f"the upstream model has {name} of shape {given.get(name)}, but the space's largest architecture "
                f"{shapes.get(name)}"
            )
    ours, theirs = _functions(wanted), _functions(upstream)
    for name in [*ours, *(name for name in theirs if name not in ours)]:
        if ours.get(name) != theirs.get(name):
            raise ValueError(
                f"the upstream model has {name} {theirs.get(name)!r}, but the space's largest architecture {ours.get(name)!r}"
            )


def _functions(model: Any) -> dict[str, Any]:
    """What a model computes with its weights: heads, activations, epsilons and where tokens go."""
    values = {name: getattr(model, name) for name in SETTINGS}
    for name, module in model.named_modules():
        if hasattr(module, "num_heads"):
            values[f"{name}: heads"] = (module.num_heads, module.head_dim)
        if hasattr(module, "act"):
            values[f"{name}: act"] = str(module.act)
        if isinstance(module, nn.LayerNorm):
            values[f"{name}: eps"] = module.eps
    return values
