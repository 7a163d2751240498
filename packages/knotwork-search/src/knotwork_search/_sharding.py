"""Weights shared out over processes (FSDP2): each keeps a part of every weight, of its gradient and of its moments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from accelerate import Accelerator
from knotwork_ops import Architecture, Selection
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from knotwork_search._protocols import Batch, Supernet

SHARDS_ON_CPUS = hasattr(torch.cpu.Stream, "record_event")
"""Whether this torch's FSDP2 runs there: it waits for events, which streams of older ones do not have."""


class ShardedSupernet:
    """A supernet whose weights are whole in the midst of a pass alone.

    Its gradients are averaged over processes by the backward pass. Architecture parameters are none of its weights, so every
    process has them whole, and averages their gradients itself.

    Args:
        supernet: an ``nn.Module``, the same in every process. Its parameters are replaced by their shards until ``gather``.
        accelerator: of the processes, each of which must take part in every pass.
    """

    def __init__(self, supernet: Supernet, accelerator: Accelerator) -> None:
        self.supernet = supernet
        mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
        self._pass: Any = _Pass(supernet)
        # Resharded after every forward pass, for between two passes the parameters are to be those that the optimiser knows.
        fully_shard(self._pass, mesh=mesh, reshard_after_forward=True)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.supernet, name)

    def loss(self, batch: Batch, arch: Selection) -> Tensor:
        """The supernet's."""
        return self._pass("loss", batch, arch)

    def teach(self, batch: Batch, arch: Architecture) -> tuple[Tensor, Batch]:
        """The supernet's."""
        return self._pass("teach", batch, arch)

    def metrics(self, batch: Batch, arch: Selection) -> dict[str, Tensor]:
        """The supernet's."""
        return self._pass("metrics", batch, arch)

    def gather(self) -> None:
        """Make the supernet's parameters whole and ordinary in every process, for good."""
        cast(FSDPModule, self._pass).reshard()
        gathered: dict[Tensor, nn.Parameter] = {}
        for module in cast(nn.Module, self.supernet).modules():
            for name, parameter in list(module.named_parameters(recurse=False)):
                if not isinstance(parameter, DTensor):
                    continue
                if parameter not in gathered:  # tied ones stay so
                    gathered[parameter] = nn.Parameter(whole(parameter.detach()), parameter.requires_grad)
                setattr(module, name, gathered[parameter])


class _Pass(nn.Module):
    """Any of a supernet's passes as that of a module, before and after which FSDP gathers and drops weights."""

    def __init__(self, supernet: Supernet) -> None:
        super().__init__()
        self.supernet = supernet

    def forward(self, method: str, batch: Batch, arch: Selection) -> Any:
        return getattr(self.supernet, method)(batch, arch)


def whole(tensor: Tensor) -> Tensor:
    """A tensor that may be sharded, gathered; every process must ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def all_whole(tensors: Mapping[str, Tensor], accelerator: Accelerator) -> dict[str, Tensor]:
    """Named tensors gathered on the main process, from sharded ones one after the other into its host's memory."""
    gathered: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        full = whole(tensor.detach())
        if accelerator.is_main_process:
            gathered[name] = full.cpu() if isinstance(tensor, DTensor) else tensor
    return gathered


def placed_like(value: Tensor, other: Tensor) -> Tensor:
    """A whole tensor, sharded as another one of its shape is; every process must ask."""
    if not isinstance(other, DTensor):
        return value
    return distribute_tensor(value.to(other.device), other.device_mesh, other.placements)


def check_shardable(accelerator: Accelerator, *, second_order: bool, compiled: bool) -> None:
    """Raise ValueError for what a search with sharded weights cannot do."""
    if second_order:
        raise ValueError("the second order's gradients are of whole weights: leave out --shard-weights, or search with darts")
    if compiled:
        raise ValueError("--compile is of whole weights: leave out one of --compile and --shard-weights")
    if accelerator.scaler is not None:
        raise ValueError("fp16's loss scale does not look at sharded gradients: use bf16 or float32 with --shard-weights")
    if accelerator.device.type == "cpu" and not SHARDS_ON_CPUS:
        raise ValueError(f"--shard-weights needs a newer torch than {torch.__version__} on CPUs, or GPUs")
    if accelerator.num_processes == 1:
        raise ValueError("--shard-weights shares the weights out over processes, and there is one: start several")
