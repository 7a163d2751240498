"""DARTS: Differentiable Architecture Search (Liu, Simonyan, Yang, ICLR 2019)."""

from __future__ import annotations

import torch
from knotwork_ops import Mixture, SearchSpace
from torch import Tensor

from knotwork_search._alphas import entropy
from knotwork_search._protocols import Alphas, Strategy


class DARTS(Strategy):
    """The mixture is the softmax of alpha (their eq. 2); its gradient is taken at the present weights (first order, xi = 0).

    Args:
        space: the search space.
        max_steps: of the search.
        entropy: coefficient of the mixture's entropy in the held-out loss, annealed linearly from 0 to this value, so that the
            mixture decides by itself before it is discretised (DA2S, Tian et al., Pattern Recognition 2021). 0 for none.
    """

    single_stage = True

    def __init__(self, space: SearchSpace, max_steps: int, entropy: float = 0.0) -> None:
        self.space, self.max_steps, self.entropy = space, max_steps, entropy

    def sample(self, alphas: Alphas, step: int) -> Mixture:
        return self.probabilities(alphas)

    def probabilities(self, alphas: Alphas) -> Mixture:
        return Mixture(self.space, {name: alpha.softmax(-1) for name, alpha in alphas.items()})

    def penalty(self, alphas: Alphas, step: int) -> Tensor | None:
        """The annealed sum over the choices of the entropy, each over that of the uniform mixture."""
        if not self.entropy:
            return None
        progress = min(1.0, step / max(1, self.max_steps - 1))
        undecided = torch.stack([entropy(weights) for weights in self.probabilities(alphas).values()])
        return self.entropy * progress * undecided.sum()


class SecondOrderDARTS(DARTS):
    """The gradient is taken at the weights that the next step will reach (their section 2.3, eqs. 6 to 8)."""

    second_order = True
