"""How a mixture's layers are compiled, one graph for all of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch._functorch import config
from torch.torch_version import TorchVersion

OLDEST = "2.15"
"""The torch whose compiler first takes blocks with several constant tables as one graph."""

RECOMPUTES = "ban_recompute_materialized_backward"
"""The compiler's setting which, when off, lets a backward pass compute again what a matrix product then reads."""


def compile_layer(function: Callable[..., Tensor], *args: Any, recompute: bool = False, **kwargs: Any) -> Callable[..., Tensor]:
    """``torch.compile`` of ``function(block, ...)``, which reads a block's weights, as one graph of fixed shapes.

    Args:
        function: called with the block first.
        recompute: whether a step that trains the weights computes masked weights, norms and activations again, and keeps only
            what matrix products gave. A step that does not train them keeps little anyway.
        args, kwargs: of ``torch.compile``.

    Raises:
        ValueError: this torch's compiler is too old for such blocks.
    """
    if TorchVersion(torch.__version__) < OLDEST:
        raise ValueError(
            f"compiling needs torch {OLDEST} or newer, and this is {torch.__version__}: upgrade, or do not compile"
        )
    compiled = torch.compile(function, *args, fullgraph=True, dynamic=False, **kwargs)

    def call(block: nn.Module, *inputs: Any, **options: Any) -> Tensor:
        with _recomputing(recompute and any(weight.requires_grad for weight in block.parameters())):
            return compiled(block, *inputs, **options)

    return call


def _recomputing(wanted: bool) -> AbstractContextManager[Any]:
    # Not a public setting: a compiler that does not know it keeps more and computes the same.
    return config.patch(RECOMPUTES, False) if wanted and hasattr(config, RECOMPUTES) else nullcontext()
