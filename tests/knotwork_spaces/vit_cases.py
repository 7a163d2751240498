"""The ViT spaces and supernets that the tests compare on, and the plain timm model and its weights made without knotwork."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import timm
import torch
from hypothesis import strategies as st
from knotwork_ops import Architecture
from knotwork_spaces.vit import ViTSpace, ViTSupernet
from timm.layers.attention import Attention
from timm.layers.mlp import Mlp
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from .comparison import ascending
from .vit_oracle import Net

REGISTERS = "vit_medium_patch16_reg4_gap_256"
REGISTERS_AND_CLASS = "vit_small_patch14_reg4_dinov2"
EARLY_NORM = "vit_so150m_patch16_reg4_gap_256"
CLIP = "vit_base_patch16_clip_224"

ODD_WIDTHS = {"embed_dim": [6, 10, 14], "num_heads": [1, 2, 4], "mlp_ratio": [0.5, 1.5, 3]}
"""No head count divides all of these, which only heads of one width allow."""

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "grey": {"channels": 1},
    "fixed heads": {**ODD_WIDTHS, "head_dim": 5},
    "average": {"global_pool": "avg"},
    "no qkv bias": {"qkv_bias": False},
    "layer scale": {"init_values": 0.5},
    "fixed heads, average, layer scale, no qkv bias": {
        **ODD_WIDTHS,
        "head_dim": 3,
        "global_pool": "avg",
        "init_values": 0.5,
        "qkv_bias": False,
    },
    "registers": {"model": REGISTERS, "init_values": 0.5},
    "registers without layer scale": {"model": REGISTERS, "init_values": 0},
    "registers and class": {"model": REGISTERS_AND_CLASS, "init_values": 0.5},
    "registers, average before the norm": {"model": EARLY_NORM},
    "norm before the blocks": {"model": CLIP},
    "norm before the blocks, fixed heads, grey": {"model": CLIP, "head_dim": 4, "channels": 1, **ODD_WIDTHS},
}
"""Every part that a ViT may have or lack, alone and together."""

# (class tokens, register tokens, whether they have positions, pool, eps of the norms) of the timm models, from timm's source.
TRAITS: dict[str, tuple[int, int, bool, str, float]] = {
    "vit_tiny_patch16_224": (1, 0, True, "token", 1e-6),
    REGISTERS: (0, 4, False, "avg", 1e-6),
    REGISTERS_AND_CLASS: (1, 4, False, "token", 1e-6),
    EARLY_NORM: (0, 4, True, "avg", 1e-6),
    CLIP: (1, 0, True, "token", 1e-5),
}


def tiny_vit(per_layer: Sequence[str] = (), **changes: Any) -> ViTSpace:
    """Three widths, and depths that leave one out, so that neither the order nor the gaps of options can be mistaken."""
    values: dict[str, Any] = {
        "embed_dim": [8, 16, 24],
        "depth": [1, 3],
        "num_heads": [1, 2, 4],
        "mlp_ratio": [0.5, 1.25, 3],
        "image_size": 6,
        "patch_size": 3,
        "num_classes": 7,
    }
    return ViTSpace.build(**{**values, "per_layer": per_layer, **changes})


@st.composite
def vit_spaces(draw: st.DrawFn) -> ViTSpace:
    model = draw(st.sampled_from([*TRAITS]))
    fixed = draw(st.booleans())
    return tiny_vit(
        sorted(draw(st.sets(st.sampled_from(ViTSpace.per_layer_choices)))),
        model=model,
        head_dim=draw(st.integers(1, 5)) if fixed else None,
        embed_dim=draw(ascending([5, 10, 15] if fixed else [4, 8, 12, 20])),
        depth=draw(ascending([1, 2, 3])),
        num_heads=draw(ascending([1, 2, 4])),
        mlp_ratio=draw(ascending([1, 2, 2.6, 3] if fixed else [0.5, 1, 2.25, 3])),
        channels=draw(st.sampled_from([1, 3])),
        global_pool=draw(st.sampled_from([None, "avg"])) if TRAITS[model][0] else None,
        qkv_bias=draw(st.sampled_from([None, False, True])),
        init_values=draw(st.sampled_from([None, 0, 0.5])),
    )


def net_of(space: ViTSpace) -> Net:
    classes, registers, positions, pool, eps = TRAITS[space.model]
    return Net(space.patch_size, space.head_dim, space.global_pool or pool, classes + registers, positions, eps)


def spread(model: torch.nn.Module, seed: int = 0) -> None:
    """Add noise to all weights, biases, tokens and norms included, so that they are far from their neat initial values."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))


def vit_supernet(space: ViTSpace, dtype: torch.dtype = torch.float64, seed: int = 0) -> ViTSupernet:
    """A supernet in eval mode with spread weights, drawn in float32, so that nets of both precisions hold the same."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        supernet = ViTSupernet(space).eval()
        spread(supernet, seed)
    return supernet.to(dtype)


def images(space: ViTSpace, dtype: torch.dtype = torch.float64, batch: int = 2, seed: int = 0) -> Tensor:
    shape = (batch, space.channels, space.image_size, space.image_size)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def timm_model(space: ViTSpace, arch: Architecture) -> VisionTransformer:
    """The plain model of an architecture through timm's own interface: a small stock one, each block's maps put in anew."""
    given = {name: getattr(space, name) for name in ("global_pool", "qkv_bias", "init_values")}
    model: Any = timm.create_model(
        space.model,
        img_size=space.image_size,
        patch_size=space.patch_size,
        in_chans=space.channels,
        num_classes=space.num_classes,
        embed_dim=arch["embed_dim"],
        depth=arch["depth"],
        num_heads=1,
        mlp_ratio=1,
        drop_path_rate=space.drop_path_rate,
        proj_drop_rate=space.dropout,
        **{name: value for name, value in given.items() if value is not None},
    )
    embed = arch["embed_dim"]
    for layer, block in enumerate(model.blocks):
        block.attn = Attention(
            embed,
            int(arch.at("num_heads", layer)),
            attn_head_dim=space.head_dim,
            qkv_bias=block.attn.qkv.bias is not None,
            proj_drop=space.dropout,
        )
        block.mlp = Mlp(embed, round(embed * arch.at("mlp_ratio", layer)), act_layer=type(block.mlp.act), drop=space.dropout)
    return model.eval()


def head_units(space: ViTSpace, embed: int, heads: int) -> list[int]:
    """The units of one projection that an architecture's heads use."""
    if space.head_dim is not None:
        return list(range(heads * space.head_dim))
    largest = int(space["embed_dim"].options[-1])
    return [head * (largest // heads) + dim for head in range(heads) for dim in range(embed // heads)]


def used_units(space: ViTSpace, arch: Architecture, name: str, tensor: Tensor) -> list[list[int]]:
    """The indices of every dimension that an architecture uses of the supernet's tensor of that name."""
    whole, embed = [list(range(size)) for size in tensor.shape], list(range(arch["embed_dim"]))
    if name == "head.bias":
        return whole
    if name.startswith("patch_embed."):
        return [embed, *whole[1:]]
    if not name.startswith("blocks."):
        return [*whole[:-1], embed]
    layer, part = int(name.split(".")[1]), name.split(".", 2)[2]
    hidden = list(range(round(len(embed) * arch.at("mlp_ratio", layer))))
    units = head_units(space, len(embed), int(arch.at("num_heads", layer)))
    joint = [start + unit for start in range(0, len(tensor), len(tensor) // 3) for unit in units] if "qkv" in part else []
    sizes: dict[str, list[list[int]]] = {
        "attn.qkv.weight": [joint, embed],
        "attn.qkv.bias": [joint],
        "attn.proj.weight": [embed, units],
        "mlp.fc1.weight": [hidden, embed],
        "mlp.fc1.bias": [hidden],
        "mlp.fc2.weight": [embed, hidden],
    }
    return sizes.get(part, [embed])


def sliced_state(space: ViTSpace, state: Mapping[str, Tensor], arch: Architecture) -> dict[str, Tensor]:
    """The weights that an architecture uses, picked index by index."""
    subnet = {}
    for name, tensor in state.items():
        if name.startswith("blocks.") and int(name.split(".")[1]) >= arch["depth"]:
            continue
        for dim, indices in enumerate(used_units(space, arch, name, tensor)):
            tensor = tensor.index_select(dim, torch.tensor(indices))
        subnet[name] = tensor
    return subnet


def upstream_subnet(space: ViTSpace, supernet: ViTSupernet, arch: Architecture) -> VisionTransformer:
    """timm's own model with the weights picked from a supernet; strict, so names and shapes are checked too."""
    model = timm_model(space, arch).to(next(supernet.parameters()).dtype)
    model.load_state_dict(sliced_state(space, supernet.state_dict(), arch))
    return model
