"""What a search costs to run, in FLOPs of forward and backward passes, whatever the machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from knotwork_ops import Architecture, HardSample, Mixture, Selection
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from knotwork_search._budget import costs
from knotwork_search._gradients import frozen
from knotwork_search._protocols import Batch, Supernet
from knotwork_search._sampling import seeded


def _addmm_flops(total: Sequence[int], left: Sequence[int], right: Sequence[int], **_: Any) -> int:
    return 2 * left[0] * left[1] * right[1]


IN_PLACE: Any = {torch.ops.aten.addmm_: _addmm_flops}
"""Products that torch's counter passes over."""


@dataclass(frozen=True)
class PassFlops:
    """FLOPs of each kind of pass: ``forward`` alone, or with a backward one to the ``weight`` or the ``architecture``.

    Mixtures count the same whatever their weights, though what has weight zero may be skipped. An architecture costs in
    proportion to the FLOPs that the supernet's ``cost`` knows exactly; the proportion is that of the largest architecture.
    Where a supernet does not know them, all cost as much.

    Attributes:
        mixed: by kind, of a mixture: by pass, whatever the number of items, and by item.
        sliced: by kind, of an architecture over its cost and the number of items.
    """

    mixed: Mapping[str, tuple[float, float]]
    sliced: Mapping[str, float]

    @classmethod
    def counted(cls, supernet: Supernet, item: Batch, *, mixtures: bool) -> PassFlops:
        """What torch's FLOP counter sees of each kind of pass.

        Args:
            supernet: not compiled yet: the counter does not look into compiled code. Its gradients are dropped.
            item: a batch of one.
            mixtures: whether the search runs mixtures rather than hard samples: a supernet need not take both.
        """
        space, device = supernet.space, next(iter(item.values())).device
        largest, pair = space.largest, {name: torch.cat([value, value]) for name, value in item.items()}
        mixed: dict[str, tuple[float, float]] = {}
        with seeded("counting"):
            sliced = {kind: _count(supernet, item, kind, largest) for kind in ("forward", "weight")}
            for kind in ("weight", "architecture") if mixtures else ():
                learnt = kind == "architecture"
                weights = {c.name: torch.full(c.shape, 1 / len(c.options), device=device, requires_grad=learnt) for c in space}
                one, two = (_count(supernet, batch, kind, Mixture(space, weights)) for batch in (item, pair))
                mixed[kind] = 2 * one - two, two - one
            if not mixtures:
                factors = {c.name: torch.ones(c.shape[:-1], device=device, requires_grad=True) for c in space}
                sliced["architecture"] = _count(supernet, item, "architecture", HardSample(largest, factors))
        unit = _cost(supernet, largest)
        for _, parameter in supernet.named_parameters():
            parameter.grad = None
        return cls(mixed, {kind: flops / unit for kind, flops in sliced.items()})

    def of(self, supernet: Supernet, kind: str, arch: Selection, items: int) -> float:
        """FLOPs of a kind of pass."""
        if isinstance(arch, Mixture):
            once, each = self.mixed[kind]
            return once + items * each
        architecture = arch.architecture if isinstance(arch, HardSample) else arch
        return items * self.sliced[kind] * _cost(supernet, architecture)


class CountedSupernet:
    """A supernet whose forward and backward passes are counted, as the FLOPs they cost this process.

    Args:
        supernet: not compiled yet.
        item: a batch of one, to count with.
        mixtures: whether mixtures are to be run, or else hard samples, beside architectures.
    """

    def __init__(self, supernet: Supernet, item: Batch, *, mixtures: bool) -> None:
        self.supernet, self.flops = supernet, 0.0
        self.passes = PassFlops.counted(supernet, item, mixtures=mixtures)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.supernet, name)

    def count(self, batch: Batch, arch: Selection) -> None:
        """Count a pass without running it."""
        trained = any(weight.requires_grad for _, weight in self.supernet.named_parameters())
        kind = "forward" if not torch.is_grad_enabled() else "weight" if trained else "architecture"
        self.flops += self.passes.of(self.supernet, kind, arch, len(next(iter(batch.values()))))

    def loss(self, batch: Batch, arch: Selection) -> Tensor:
        """The supernet's; a backward pass follows wherever gradients are on."""
        self.count(batch, arch)
        return self.supernet.loss(batch, arch)

    def teach(self, batch: Batch, arch: Architecture) -> tuple[Tensor, Batch]:
        """The supernet's."""
        self.count(batch, arch)
        return self.supernet.teach(batch, arch)

    def metrics(self, batch: Batch, arch: Selection) -> dict[str, Tensor]:
        """The supernet's."""
        self.count(batch, arch)
        return self.supernet.metrics(batch, arch)


def _cost(supernet: Supernet, architecture: Architecture) -> float:
    return costs(supernet, architecture).get("flops", 1.0)


def _count(supernet: Supernet, item: Batch, kind: str, arch: Selection) -> float:
    held = frozen(supernet) if kind == "architecture" else nullcontext()
    gradients = torch.set_grad_enabled(kind != "forward")
    with held, gradients, FlopCounterMode(display=False, custom_mapping=IN_PLACE) as counter:
        loss = supernet.loss(item, arch)
        if kind != "forward":
            loss.backward()
    return float(counter.get_total_flops())
