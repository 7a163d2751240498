"""The plain timm model of an architecture, and which timm models a supernet can wrap."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import timm
import torch
from knotwork_ops import Architecture
from timm.layers.attention import Attention
from timm.layers.mlp import Mlp
from timm.layers.patch_embed import PatchEmbed
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from knotwork_spaces._classification import classification_metrics
from knotwork_spaces.vit._space import POOLS, ViTSpace

TIMM_INITIALIZER_RANGE = 0.02


def plain_model(space: ViTSpace, architecture: Architecture, state: Mapping[str, Tensor] | None = None) -> VisionTransformer:
    """The plain upstream model of an architecture, freshly initialised, or with a subnet's state dict.

    Raises:
        ValueError: ``space.model`` is no timm ViT, or one with parts that a supernet cannot mix.
    """
    name, arguments = space.timm_model(architecture)
    if state is None:
        model = _created(space, name, arguments)
        with torch.no_grad():
            for module in model.modules():
                if isinstance(module, nn.Linear):
                    module.weight.mul_(space.initializer_range / TIMM_INITIALIZER_RANGE)
        return model
    # On the meta device nothing is initialised, so neither time nor the random state is spent on weights to be replaced.
    with torch.device("meta"):
        model = _created(space, name, arguments)
    model.load_state_dict(state, assign=True)
    return model


def plain_metrics(model: Any, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The supernet's metrics of a plain timm model. See ``ViTSupernet.metrics``."""
    return classification_metrics(model(batch["image"]), batch["label"])


def _created(space: ViTSpace, name: str, arguments: Mapping[str, Any]) -> VisionTransformer:
    try:
        if name != space.model:
            # Blocks of each layer's own size take the place of the base's, so the base is looked at by itself.
            pool = {} if space.global_pool is None else {"global_pool": space.global_pool}
            _check_base(space.model, pool)
        model = timm.create_model(name, num_classes=space.num_classes, **arguments)
    except (TypeError, AssertionError, RuntimeError, ArithmeticError) as error:
        _check_base(space.model, {})
        reason = str(error) or type(error).__name__  # before 1.0.31 some of timm's assertions say nothing
        raise ValueError(f"timm's {space.model} cannot be built with {dict(arguments)}: {reason}") from error
    return check_supported(space.model, model)


def _check_base(name: str, arguments: Mapping[str, Any]) -> None:
    with torch.device("meta"):
        check_supported(name, timm.create_model(name, **arguments))


def check_supported(name: str, model: nn.Module) -> VisionTransformer:
    """The model itself, when a supernet can mix all its parts.

    Raises:
        ValueError: it cannot; the message names the part.
    """
    if not isinstance(model, VisionTransformer):
        raise ValueError(f"timm's {name} is a {type(model).__name__}, not a VisionTransformer: name one of timm's vit_* models")
    part = next(_unsupported(model), None)
    if part is not None:
        raise ValueError(
            f"timm's {name} has {part}, which a supernet cannot mix: name a plain one such as vit_small_patch16_224"
        )
    return model


def _unsupported(model: VisionTransformer) -> Iterator[str]:
    if type(model) is not VisionTransformer:
        yield f"a class of its own, {type(model).__name__}"
    if model.attn_pool is not None or model.global_pool not in POOLS:
        yield f"pooling other than {POOLS}"
    if model.dynamic_img_size:
        yield "a dynamic image size"
    patches = model.patch_embed
    if type(patches) is not PatchEmbed or not isinstance(patches.norm, nn.Identity) or not patches.flatten:
        yield "another patch embedding"
    for block in model.blocks:
        if type(block) is not Block:
            yield f"blocks of another kind, {type(block).__name__}"
        attn: Any = block.attn
        if not isinstance(attn, Attention) or attn.gate is not None:
            yield "another attention"
        if any(not isinstance(norm, nn.Identity) for norm in (attn.q_norm, attn.k_norm, attn.norm, block.mlp.norm)):
            yield "norms inside attention or MLP"
        if type(block.mlp) is not Mlp:
            yield "another MLP"
    norms = [
        model.norm_pre,
        model.norm,
        model.fc_norm,
        *(norm for block in model.blocks for norm in (block.norm1, block.norm2)),
    ]
    if any(not isinstance(norm, nn.LayerNorm | nn.Identity) for norm in norms):
        yield "norms other than layer norm"
