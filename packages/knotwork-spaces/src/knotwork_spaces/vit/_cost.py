"""Exact parameters and FLOPs of ViT subnets, differentiable in a mixture."""

from __future__ import annotations

from typing import Any

import torch
from knotwork_ops import Architecture, Mixture
from torch import Tensor, nn

from knotwork_spaces.vit._space import ViTSpace


def vit_cost(space: ViTSpace, model: Any, selection: Mixture | Architecture) -> dict[str, Tensor]:
    """Parameters and FLOPs per image of an architecture, or their expectation under a mixture's independent choices.

    FLOPs are two for a multiply-add of every matrix product and convolution: what torch's ``FlopCounterMode`` counts on the
    extracted net. MACs are half of them.

    Args:
        space: the search space.
        model: the supernet, or timm's model of the largest architecture: it says what parts there are.
        selection: the architecture or mixture.

    Returns:
        ``params``, ``flops`` and ``macs``, 0-dim tensors, float64 so that large counts stay whole numbers.
    """
    if isinstance(selection, Architecture):
        selection = Mixture.one_hot(space, selection, dtype=torch.float64)
    weights = {name: weight.double() for name, weight in selection.items()}
    depth = _options(space, "depth", weights["depth"])
    used = torch.stack([(weights["depth"] * (depth > layer)).sum() for layer in range(int(depth[-1]))])
    depths = used.sum()
    ratios = (used * (weights["mlp_ratio"] * _options(space, "mlp_ratio", depth)).sum(-1)).sum()
    e = _options(space, "embed_dim", weights["embed_dim"])
    # Units of a projection summed over the layers that are used, by embedding option.
    if space.head_dim is None:
        units = depths * e
    else:
        units = (used * (weights["num_heads"] * _options(space, "num_heads", depth)).sum(-1)).sum() * space.head_dim
    block = model.blocks[0]
    qkv_bias = 3 * units if block.attn.qkv.bias is not None else 0
    scales = sum(isinstance(scale, nn.Module) and not isinstance(scale, nn.Identity) for scale in (block.ls1, block.ls2))
    pixels = space.channels * space.patch_size**2
    length = space.tokens + model.num_prefix_tokens
    attention = 4 * e * units + qkv_bias + e * depths
    mlp = 2 * ratios * e**2 + ratios * e + depths * e
    params = attention + mlp + depths * (4 + scales) * e + _outside(model, pixels) * e + space.num_classes
    products = length * (4 * e * units + 2 * ratios * e**2) + 2 * length**2 * units
    products = products + space.tokens * pixels * e + space.num_classes * e
    total = (weights["embed_dim"] * products).sum()
    return {"params": (weights["embed_dim"] * params).sum(), "flops": 2 * total, "macs": total}


def _outside(model: Any, pixels: int) -> int:
    """Parameters outside the blocks by unit of the embedding: patches, tokens, positions, norms and the classifier."""
    tables = [model.cls_token, model.reg_token, model.pos_embed]
    rows = sum(table.shape[1] for table in tables if table is not None)
    norms = sum(2 for norm in (model.norm_pre, model.norm, model.fc_norm) if isinstance(norm, nn.LayerNorm))
    bias = model.patch_embed.proj.bias is not None
    return pixels + bias + rows + norms + model.num_classes


def _options(space: ViTSpace, name: str, like: Tensor) -> Tensor:
    return torch.tensor(space[name].numbers, dtype=torch.float64, device=like.device)
