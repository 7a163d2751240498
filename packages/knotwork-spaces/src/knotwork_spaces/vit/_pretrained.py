"""A ViT from a checkpoint that timm can read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch

from knotwork_spaces._model_folder import check_finite
from knotwork_spaces._pretrained import Pretrained
from knotwork_spaces.vit._folder import check_timm_folder
from knotwork_spaces.vit._upstream import check_supported

PREPARATION = ("mean", "std", "interpolation", "crop_pct", "crop_mode")


def load_pretrained(name_or_folder: str, settings: Mapping[str, Any]) -> Pretrained:
    """A timm ViT's checkpoint, adapted by timm to the space's channels, image size and classes where they differ.

    timm sums or repeats the filters of colours, resamples the positions, and starts a classifier of other classes anew.

    Args:
        name_or_folder: a folder in timm's Hub format, ``hf-hub:USER/NAME``, or a name of timm's own.
        settings: of the space; ``channels``, ``image_size`` and ``num_classes`` are the checkpoint's where they are missing.

    Raises:
        ValueError: a checkpoint that cannot be read, lacks weights, has others or some that are not finite, or has
            parts that a supernet cannot mix.
    """
    asked = {"in_chans": "channels", "img_size": "image_size", "num_classes": "num_classes"}
    given = {theirs: settings[ours] for theirs, ours in asked.items() if settings.get(ours) is not None}
    folder = Path(name_or_folder)
    source = f"local-dir:{name_or_folder}" if folder.is_dir() else name_or_folder
    try:
        if folder.is_dir():
            check_timm_folder(folder)
        # The largest architecture trains at the space's rates; a folder may have been saved with others.
        model: Any = timm.create_model(source, pretrained=True, drop_path_rate=0.0, proj_drop_rate=0.0, **given)
    except Exception as error:  # the Hub's client, the network, safetensors, torch and timm have their own
        raise ValueError(f"no ViT could be loaded from {name_or_folder!r}: {error}") from error
    check_supported(name_or_folder, model)
    check_finite(model.state_dict(), name_or_folder)
    block, patches, configuration = model.blocks[0], model.patch_embed, model.pretrained_cfg
    hidden, embed = block.mlp.fc1.out_features, model.embed_dim
    shared = block.attn.head_dim * block.attn.num_heads == embed
    settings = {
        "model": configuration["architecture"],
        "image_size": patches.img_size[0],
        "patch_size": patches.patch_size[0],
        "channels": patches.proj.in_channels,
        "num_classes": model.num_classes,
        "head_dim": None if shared else block.attn.head_dim,
        "global_pool": model.global_pool,
        "qkv_bias": block.attn.qkv.bias is not None,
        "init_values": None if isinstance(block.ls1, torch.nn.Identity) else 1e-5,
    }
    sizes = {
        "embed_dim": embed,
        "depth": len(model.blocks),
        "num_heads": block.attn.num_heads,
        "mlp_ratio": hidden // embed if hidden % embed == 0 else hidden / embed,
    }
    return Pretrained(model, sizes, settings, {name: configuration[name] for name in PREPARATION if configuration.get(name)})
