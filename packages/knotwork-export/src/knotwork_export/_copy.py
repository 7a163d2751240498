"""A copy of a model to write and compare, so that the given one stays where and as it is."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

Model = TypeVar("Model", bound=nn.Module)


def plain_copy(model: Model) -> Model:
    """A copy on the CPU in eval mode, each tensor contiguous in memory of its own.

    Where a tensor begins and how it lies decides in which order some kernels sum, and so the last bit of what they give. The
    fresh process lays out what it loads in the same way.
    """
    plain = copy.deepcopy(model).eval()
    nn.Module.to(plain, "cpu")
    for tensor in (*plain.parameters(), *plain.buffers()):
        tensor.data = tensor.data.clone(memory_format=torch.contiguous_format)
    return plain
