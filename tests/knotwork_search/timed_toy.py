"""Toy models whose passes take what a formula says, told by a clock that they move themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from knotwork_ops import DEPTH, Architecture
from torch import Tensor, nn

from .toy import Toy


@dataclass
class FakeClock:
    """Stands still until a module moves it."""

    now: float = 0.0

    def mark(self) -> float:
        return self.now

    def gaps(self, marks: Sequence[float]) -> list[float]:
        return [later - earlier for earlier, later in pairwise(marks)]


class Takes(nn.Module):
    def __init__(self, clock: FakeClock, milliseconds: float) -> None:
        super().__init__()
        self.clock, self.milliseconds = clock, milliseconds

    def forward(self, x: Tensor) -> Tensor:
        self.clock.now += self.milliseconds
        return x


class TimedToy(Toy):
    """Its plain models take ``1 + width`` milliseconds outside the blocks and ``block_ms(width, ratio)`` in each."""

    block_choices = ("ratio",)

    def __init__(self, clock: FakeClock, space=None, block_ms=lambda width, ratio: width * ratio) -> None:
        super().__init__(*([space] if space else []))
        self.clock, self.block_ms, self.measured_costs = clock, block_ms, {}
        self.extracted: list[Architecture] = []

    def cost(self, arch):
        return super().cost(arch) | {name: cost(arch) for name, cost in self.measured_costs.items()}

    def extract(self, arch: Architecture) -> nn.Sequential:
        self.extracted.append(arch)
        width = arch["width"]
        blocks = [Takes(self.clock, self.block_ms(width, arch.at("ratio", layer))) for layer in range(arch[DEPTH])]
        return nn.Sequential(Takes(self.clock, 1.0), nn.Sequential(*blocks), Takes(self.clock, float(width)))

    def timed_blocks(self, model: nn.Sequential) -> Any:
        return model[1]

    def timed_input(self) -> dict[str, Tensor]:
        return {"input": torch.zeros(1)}
