"""GDAS: Searching for a Robust Neural Architecture in Four GPU Hours (Dong & Yang, CVPR 2019)."""

from __future__ import annotations

import torch
from knotwork_ops import HardSample, Mixture, SearchSpace
from torch import Tensor

from knotwork_search._protocols import Alphas, Strategy
from knotwork_search._sampling import architecture_at


class GDAS(Strategy):
    """One option a choice by Gumbel-max, run sliced; alpha gets its gradient through the straight-through factor.

    The factor is ``one_hot - softmax.detach() + softmax`` at the chosen option (their eq. 6), of the Gumbel softmax at a
    temperature tau that falls linearly from 10 to 0.1 over the search.
    """

    single_stage = True

    def __init__(self, space: SearchSpace, max_steps: int, tau_start: float = 10.0, tau_end: float = 0.1) -> None:
        self.space = space
        self.max_steps = max_steps
        self.tau_start, self.tau_end = tau_start, tau_end

    def tau(self, step: int) -> float:
        """The temperature at a step."""
        progress = min(1.0, step / max(1, self.max_steps - 1))
        return self.tau_start + (self.tau_end - self.tau_start) * progress

    def sample(self, alphas: Alphas, step: int) -> HardSample:
        chosen: dict[str, Tensor] = {}
        factors: dict[str, Tensor] = {}
        for name, alpha in alphas.items():
            gumbel = -torch.empty_like(alpha).exponential_().log()
            soft = ((alpha.log_softmax(-1) + gumbel) / self.tau(step)).softmax(-1)
            index = soft.argmax(-1, keepdim=True)
            picked = soft.gather(-1, index).squeeze(-1)
            chosen[name], factors[name] = index.squeeze(-1), 1 + (picked - picked.detach())
        return HardSample(architecture_at(self.space, chosen), factors)

    def probabilities(self, alphas: Alphas) -> Mixture:
        return Mixture(self.space, {name: alpha.softmax(-1) for name, alpha in alphas.items()})
