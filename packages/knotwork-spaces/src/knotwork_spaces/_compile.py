"""How a mixture's layers are compiled, one graph for all of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch._functorch import config

RECOMPUTES = "ban_recompute_materialized_backward"
"""The compiler's setting which, when off, lets a backward pass compute again what a matrix product then reads."""


def compile_layer(function: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Callable[..., Tensor]:
    """``torch.compile`` of ``function(block, ...)``, which reads a block's weights, as one graph of fixed shapes.

    Masked weights, activations and norms are cheap beside the products that read them, so a step that trains the weights
    computes them again and keeps only what the products gave: at AutoFormer-tiny a third of its memory, for 2% of its time.
    A step that does not train them keeps little anyway.
    """
    compiled = torch.compile(function, *args, fullgraph=True, dynamic=False, **kwargs)

    def call(block: nn.Module, *inputs: Any, **options: Any) -> Tensor:
        with _recomputing(any(weight.requires_grad for weight in block.parameters())):
            return compiled(block, *inputs, **options)

    return call


def _recomputing(wanted: bool) -> AbstractContextManager[Any]:
    # Not a public setting: a compiler that does not know it keeps more and computes the same.
    return config.patch(RECOMPUTES, False) if wanted and hasattr(config, RECOMPUTES) else nullcontext()
