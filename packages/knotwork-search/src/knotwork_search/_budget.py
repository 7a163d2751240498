"""Hard budgets: what an architecture may cost, and the multiplier that pulls the alphas there (design.md, section 4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from knotwork_ops import Architecture
from torch import Tensor

from knotwork_search._protocols import Supernet

LATENCY = "latency_ms"
"""The currency of measured milliseconds; supernets know it once a latency table is attached to them."""


@dataclass
class Budget:
    """Upper limits by currency (``params``, ``flops``, ``latency_ms``), each with a Lagrange multiplier raised by dual ascent.

    The penalty is ``multiplier * log(cost / limit)``, so it does not depend on the currency's unit.

    Attributes:
        limits: the largest cost allowed, by currency; empty for no budget.
        rate: the dual ascent's step size.
        multipliers: the multipliers' values, never negative; tensors after an ascent, so that no accelerator is waited for.
    """

    limits: Mapping[str, float] = field(default_factory=dict)
    rate: float = 0.05
    multipliers: dict[str, float | Tensor] = field(default_factory=dict)

    def penalty(self, cost: Mapping[str, Tensor]) -> Tensor:
        """The Lagrangian term of an expected cost, 0-dim."""
        terms = [self.multipliers.get(name, 0.0) * torch.log(cost[name] / limit) for name, limit in self.limits.items()]
        return torch.stack(terms).sum() if terms else torch.zeros(())

    def ascend(self, cost: Mapping[str, Tensor]) -> None:
        """Raise each multiplier while the expected cost is over its limit, lower it while it is under."""
        for name, limit in self.limits.items():
            risen = self.multipliers.get(name, 0.0) + self.rate * torch.log(cost[name].detach() / limit)
            self.multipliers[name] = risen.clamp_min(0)

    def met_by(self, cost: Mapping[str, float]) -> bool:
        """Whether a cost is within every limit."""
        return all(cost[name] <= limit for name, limit in self.limits.items())

    def used_by(self, cost: Mapping[str, float], share: float) -> bool:
        """Whether a cost uses at least this share of some limit; true without limits."""
        return not self.limits or any(cost[name] >= share * limit for name, limit in self.limits.items())

    def check_possible(self, supernet: Supernet) -> None:
        """Raise ValueError when not even the smallest architecture meets the budget; the message says what it costs."""
        smallest = costs(supernet, supernet.space.smallest)
        for name, limit in self.limits.items():
            if name not in smallest:
                raise ValueError(f"this space has no cost named {name!r}: it has {list(smallest)}")
            if smallest[name] > limit:
                raise ValueError(
                    f"the budget of {amount(limit)} {name} is below the smallest architecture, which has "
                    f"{amount(smallest[name])}: "
                    f"raise the budget or give the space smaller options"
                )


def amount(cost: float) -> str:
    """A cost for people: counts in full, small measures such as milliseconds with three digits."""
    return f"{cost:,.0f}" if cost >= 100 else f"{cost:.3g}"


def costs(supernet: Supernet, architecture: Architecture) -> dict[str, float]:
    """An architecture's exact cost as plain numbers."""
    return {name: float(value) for name, value in supernet.cost(architecture).items()}
