"""Low-rank adapters on a supernet's linear maps, trained in place of its weights (LoRA: Hu et al., ICLR 2022, section 4.1).

An adapter is entangled like the weight it adapts: a smaller option uses a sub-block of ``W + scale * B A``, which is the
sub-block of W with the same rows of B and columns of A.
"""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from knotwork_ops import AdaptedWeight, Weight
from torch import Tensor, nn

from knotwork_spaces._settings import check_whole

ADAPTER = "default"
"""What peft calls the one adapter that a layer has here."""
BASE = ".base_layer"
"""What peft adds to the name of an adapted layer's own parameters."""
SCALE = 2
"""LoRA's alpha over its rank. With Adam another one is much the same as another learning rate (Hu et al., section 4.1)."""

SupernetT = TypeVar("SupernetT", bound=nn.Module)


def adapted(supernet: SupernetT, rank: int | None) -> SupernetT:
    """A supernet whose linear maps get adapters, which are trained alone: all else is frozen.

    What a supernet names in ``adapted_layers`` gets peft's LoRA layers; what it names in ``trained_layers``, such as a
    classifier of new classes, is trained as it is. B starts at zero, so that the supernet computes what it did.

    Args:
        supernet: changed in place.
        rank: of the adapters; None leaves the supernet as it is.

    Returns:
        The same supernet.

    Raises:
        ValueError: a rank that is no positive whole number or above that of any weight, or a supernet without linear maps to
            adapt.
        ImportError: peft is not installed.
    """
    if rank is None:
        return supernet
    check_whole("the rank of the adapters", rank)
    most = max(max(weight.shape, default=0) for weight in supernet.parameters())
    if rank > most:
        raise ValueError(f"the rank of the adapters is {rank}: the largest weight that they adapt has {most} rows or columns")
    layers = getattr(supernet, "adapted_layers", ())
    if not layers:
        raise ValueError(f"a {type(supernet).__name__} has no linear maps to adapt: train its weights instead")
    try:
        from peft import LoraConfig, inject_adapter_in_model
        from transformers.pytorch_utils import Conv1D
    except ImportError as error:
        raise ImportError("low-rank adapters need peft: pip install 'knotwork-spaces[lora]'") from error
    transposed = any(isinstance(module, Conv1D) for module in supernet.modules())
    config = LoraConfig(r=rank, lora_alpha=SCALE * rank, target_modules=list(layers), fan_in_fan_out=transposed)
    inject_adapter_in_model(config, supernet, ADAPTER)
    for name in getattr(supernet, "trained_layers", ()):
        supernet.get_submodule(name).requires_grad_(True)
    return supernet


def weight_of(layer: Any) -> Weight:
    """A linear map's weight for the operations of knotwork-ops, in its own layout; with its adapter, where it has one."""
    if getattr(layer, "lora_A", None) is None:
        return layer.weight
    weight = layer.base_layer.weight
    up, down, scale = layer.lora_B[ADAPTER].weight, layer.lora_A[ADAPTER].weight, layer.scaling[ADAPTER]
    # Conv1D stores its weight transposed, peft its two factors never.
    return AdaptedWeight(weight, down.t(), up.t(), scale) if layer.fan_in_fan_out else AdaptedWeight(weight, up, down, scale)


@torch.no_grad()
def merged_state(supernet: nn.Module) -> dict[str, Tensor]:
    """A supernet's state dict under upstream's names: adapters, if there are any, are added to the weights that they adapt."""
    merged: dict[str, Tensor] = {}
    for name, tensor in supernet.state_dict().items():
        owner, _, kind = name.rpartition(".")
        if owner.endswith(BASE):
            layer = owner.removesuffix(BASE)
            weight = weight_of(supernet.get_submodule(layer)) if kind == "weight" else tensor
            merged[f"{layer}.{kind}"] = weight if isinstance(weight, Tensor) else weight.merged()
        elif ".lora_" not in name:
            merged[name] = tensor
    return merged
