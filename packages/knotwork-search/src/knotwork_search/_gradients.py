"""Which gradients a step computes, and their average over processes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.distributed.tensor import DTensor

from knotwork_search._protocols import Supernet


@contextmanager
def frozen(supernet: Supernet) -> Iterator[None]:
    """Switch off the gradients of every weight for the length of the block, so that none is computed."""
    parameters = [parameter for _, parameter in supernet.named_parameters() if parameter.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def average_gradients(parameters: Iterable[Tensor], accelerator: Accelerator) -> None:
    """Average gradients over processes, in one message; those of sharded weights are averaged already.

    Used in place of DistributedDataParallel, which would have to look for the weights that a sliced net does not touch.
    All processes run the same architecture, so they agree on which gradients there are.
    """
    gradients = (parameter.grad for parameter in parameters if parameter.grad is not None)
    average([gradient for gradient in gradients if not isinstance(gradient, DTensor)], accelerator)


def average(gradients: Sequence[Tensor], accelerator: Accelerator) -> None:
    """Average tensors over processes, in place and in one message."""
    if accelerator.num_processes == 1 or not gradients:
        return
    flat = accelerator.reduce(torch.cat([gradient.flatten() for gradient in gradients]), reduction="mean")
    for gradient, averaged in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):  # type: ignore[union-attr]
        gradient.copy_(averaged.view_as(gradient))
