"""DrNAS: Dirichlet Neural Architecture Search (Chen et al., ICLR 2021)."""

from __future__ import annotations

import torch
from knotwork_ops import Mixture, SearchSpace
from torch import Tensor
from torch.distributions import Dirichlet, kl_divergence
from torch.nn import functional as F

from knotwork_search._protocols import Alphas, Strategy


class DrNAS(Strategy):
    """Mixtures are drawn from Dirichlet(elu(alpha) + 1), with pathwise gradients to alpha (their section 3.2).

    Args:
        space: the search space.
        max_steps: of the search.
        distance: coefficient of the distance from the symmetric Dirichlet, which keeps the draws exploring.
    """

    single_stage = True

    def __init__(self, space: SearchSpace, max_steps: int, distance: float = 1e-3) -> None:
        self.space, self.distance = space, distance

    def sample(self, alphas: Alphas, step: int) -> Mixture:
        draws = {name: Dirichlet(concentration(alpha), validate_args=False).rsample() for name, alpha in alphas.items()}
        return Mixture(self.space, draws)

    def probabilities(self, alphas: Alphas) -> Mixture:
        """The Dirichlet's mean: concentrations over their sum."""
        concentrations = {name: concentration(alpha) for name, alpha in alphas.items()}
        return Mixture(self.space, {name: c / c.sum(-1, keepdim=True) for name, c in concentrations.items()})

    def penalty(self, alphas: Alphas, step: int) -> Tensor | None:
        """The Kullback-Leibler divergence from Dirichlet(1), summed over all choices and layers."""
        if not self.distance:
            return None
        return self.distance * torch.stack([_from_symmetric(alpha) for alpha in alphas.values()]).sum()


def concentration(alpha: Tensor) -> Tensor:
    """``elu(alpha) + 1``, kept above zero where float32 would round it there."""
    return (F.elu(alpha) + 1).clamp_min(1e-4)


def _from_symmetric(alpha: Tensor) -> Tensor:
    drawn, symmetric = concentration(alpha), torch.ones_like(alpha)
    return kl_divergence(Dirichlet(drawn, validate_args=False), Dirichlet(symmetric, validate_args=False)).sum()
