"""The precision that a model's weights came in, in which they are to leave again."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

Precisions = Mapping[str, torch.dtype]


def precisions(model: nn.Module) -> Precisions:
    """Of every floating-point tensor that is stored with a model, by name."""
    return {name: tensor.dtype for name, tensor in _stored(model).items()}


def to_float32(model: nn.Module) -> None:
    """Bring a model to float32 in place: weights of half precision are too coarse for small steps."""
    to_precisions(model, dict.fromkeys(_stored(model), torch.float32))


def to_precisions(model: nn.Module, wanted: Precisions) -> None:
    """Bring a model to the given precisions in place.

    What is not stored stays as it is: rotary frequencies, which ``Module.to`` would round, are computed anew by whoever loads
    the model.
    """
    for name, tensor in _stored(model).items():
        tensor.data = tensor.data.to(wanted[name])


def _stored(model: nn.Module) -> dict[str, Tensor]:
    """Floating-point parameters, tied ones once, and those buffers that belong to the state."""
    kept = model.state_dict().keys()
    buffers = {name: tensor for name, tensor in model.named_buffers() if name in kept}
    tensors = {**dict(model.named_parameters()), **buffers}
    return {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point()}
