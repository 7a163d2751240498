"""DARTS: Differentiable Architecture Search (Liu, Simonyan, Yang, ICLR 2019), first order."""

from __future__ import annotations

from knotwork_ops import Mixture, SearchSpace

from knotwork_search._protocols import Alphas


class DARTS:
    """The mixture is the softmax of alpha (their eq. 2); its gradient is taken at the present weights (first order, xi = 0)."""

    single_stage = True

    def __init__(self, space: SearchSpace, max_steps: int) -> None:
        self.space = space

    def sample(self, alphas: Alphas, step: int) -> Mixture:
        return self.probabilities(alphas)

    def probabilities(self, alphas: Alphas) -> Mixture:
        return Mixture(self.space, {name: alpha.softmax(-1) for name, alpha in alphas.items()})
