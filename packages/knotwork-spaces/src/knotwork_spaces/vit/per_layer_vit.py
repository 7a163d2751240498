"""timm's Vision Transformer whose layers choose their head count and MLP width alone, and whose heads may have a fixed width.

This file travels with an exported model (``trust_remote_code=True`` loads it): it imports timm, and transformers where it is
installed. Importing it registers the model ``per_layer_vit`` with timm.
"""

import math
from typing import Any

from timm.layers.attention import Attention
from timm.models import model_entrypoint, register_model
from timm.models.vision_transformer import Block, VisionTransformer

try:
    from transformers import TimmWrapperForImageClassification
except ImportError:  # timm alone is enough to load the model with timm
    TimmWrapperForImageClassification = None

AUTO_MAP = {"AutoModelForImageClassification": "per_layer_vit.PerLayerViTForImageClassification"}
"""What ``config.json`` says of this file where it travels with a model, so that transformers finds the class below."""


class _LayerSizes:
    """Builds the blocks of a ``VisionTransformer``, each of its own size; passed to timm as ``block_fn``."""

    def __init__(self, heads: list[int], hidden: list[int], head_dim: int | None) -> None:
        self.heads, self.hidden, self.head_dim = heads, hidden, head_dim

    def __call__(
        self, dim: int, num_heads: int, mlp_ratio: float, depth: int = 0, attn_layer: Any = Attention, **settings: Any
    ) -> Block:
        if self.head_dim is not None:
            attn_layer = _fixed_width(self.head_dim)
        ratio = exact_ratio(dim, self.hidden[depth])
        return Block(dim, num_heads=self.heads[depth], mlp_ratio=ratio, depth=depth, attn_layer=attn_layer, **settings)


def exact_ratio(dim: int, hidden: int) -> float:
    """The MLP ratio from which timm, which rounds ``dim * ratio`` down, gets exactly this many hidden units."""
    ratio = hidden / dim
    return ratio if int(dim * ratio) == hidden else math.nextafter(ratio, math.inf)


def _fixed_width(head_dim: int) -> type[Attention]:
    class FixedWidthAttention(Attention):
        def __init__(self, dim: int, **settings: Any) -> None:
            super().__init__(dim, attn_head_dim=head_dim, **settings)

    return FixedWidthAttention


@register_model
def per_layer_vit(
    pretrained: bool = False,
    *,
    base: str = "vit_tiny_patch16_224",
    heads_per_layer: list[int],
    hidden_per_layer: list[int],
    head_dim: int | None = None,
    **settings: Any,
) -> VisionTransformer:
    """A timm ViT with one head count and one MLP width a layer.

    Args:
        pretrained: whether to load weights, as timm's own models take it.
        base: the timm ViT whose other settings it has.
        heads_per_layer: head counts.
        hidden_per_layer: hidden units of the MLPs.
        head_dim: units of every head; by default the embedding's width over the layer's heads.
        **settings: overrides of the base's settings, such as ``embed_dim``.

    Raises:
        ValueError: the lists name another number of layers than ``depth``.
    """
    depth = settings.setdefault("depth", len(heads_per_layer))
    if not len(heads_per_layer) == len(hidden_per_layer) == depth:
        raise ValueError(
            f"heads_per_layer {heads_per_layer} and hidden_per_layer {hidden_per_layer} must each name {depth} layers (depth)"
        )
    blocks = _LayerSizes(heads_per_layer, hidden_per_layer, head_dim)
    # num_heads is only what code reads that asks for one number.
    return model_entrypoint(base)(pretrained=pretrained, block_fn=blocks, num_heads=heads_per_layer[0], **settings)


if TimmWrapperForImageClassification is not None:

    class PerLayerViTForImageClassification(TimmWrapperForImageClassification):
        """transformers' wrapper of a timm model, loaded from this file so that ``per_layer_vit`` is known to timm."""
