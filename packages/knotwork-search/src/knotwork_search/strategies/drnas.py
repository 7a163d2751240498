"""DrNAS: Dirichlet Neural Architecture Search (Chen et al., ICLR 2021)."""

from __future__ import annotations

import torch
from knotwork_ops import Mixture, SearchSpace
from torch import Tensor
from torch.distributions import Dirichlet
from torch.nn import functional as F

from knotwork_search._protocols import Alphas, Strategy

DROPPED = -1e4
"""Value of an architecture parameter whose option was dropped: finite, so that optimisers and files bear it."""


class DrNAS(Strategy):
    """Mixtures are drawn from Dirichlet(elu(alpha) + 1), with pathwise gradients to alpha (their section 3.2).

    Args:
        space: the search space.
        max_steps: of the search.
        distance: coefficient of the distance from the symmetric Dirichlet, which keeps the draws exploring.
        shrink: how often, at even distances over the architecture steps, every choice drops its least likely option; the last
            one stays (their progressive learning). What a supernet skips at weight zero then costs nothing.
    """

    single_stage = True

    def __init__(self, space: SearchSpace, max_steps: int, distance: float = 1e-3, shrink: float = 0.0) -> None:
        self.space, self.distance, self.shrink = space, distance, round(shrink)

    def sample(self, alphas: Alphas, step: int) -> Mixture:
        """A draw. Those of the options that are left, over their sum, are a draw from the Dirichlet of these alone."""
        draws = {name: Dirichlet(concentration(alpha), validate_args=False).rsample() for name, alpha in alphas.items()}
        return Mixture(self.space, {name: _over_their_sum(draw * left(alphas[name])) for name, draw in draws.items()})

    def probabilities(self, alphas: Alphas) -> Mixture:
        """The Dirichlet's mean: concentrations over their sum."""
        shares = {name: _over_their_sum(concentration(alpha) * left(alpha)) for name, alpha in alphas.items()}
        return Mixture(self.space, shares)

    def penalty(self, alphas: Alphas, step: int) -> Tensor | None:
        """The Kullback-Leibler divergence from Dirichlet(1), summed over all choices and layers."""
        if not self.distance:
            return None
        return self.distance * torch.stack([_from_symmetric(alpha) for alpha in alphas.values()]).sum()

    def after_step(self, alphas: Alphas, number: int, total: int) -> None:
        """Drop the least likely options when a stage ends."""
        ends = [round(stage * total / (self.shrink + 1)) for stage in range(1, self.shrink + 1)]
        for alpha in alphas.values() if number in ends else ():
            _drop_least_likely(alpha)


def concentration(alpha: Tensor) -> Tensor:
    """``elu(alpha) + 1``, kept above zero where float32 would round it there."""
    return (F.elu(alpha) + 1).clamp_min(1e-4)


def left(alpha: Tensor) -> Tensor:
    """1 for the options that are left, 0 for those that were dropped."""
    return (alpha > DROPPED / 2).to(alpha.dtype)


def _over_their_sum(weights: Tensor) -> Tensor:
    return weights / weights.sum(-1, keepdim=True)


def _from_symmetric(alpha: Tensor) -> Tensor:
    """Among the options that are left."""
    kept, drawn = left(alpha), concentration(alpha)
    total, count = (drawn * kept).sum(-1), kept.sum(-1)
    logs = (drawn - 1) * (drawn.digamma() - total.digamma()[..., None]) - drawn.lgamma()
    return (total.lgamma() - count.lgamma() + (logs * kept).sum(-1)).sum()


@torch.no_grad()
def _drop_least_likely(alpha: Tensor) -> None:
    kept = left(alpha).bool()
    least = alpha.masked_fill(~kept, torch.inf).argmin(-1, keepdim=True)
    several = kept.sum(-1, keepdim=True) > 1
    alpha.scatter_(-1, least, torch.where(several, torch.full_like(alpha[..., :1], DROPPED), alpha.gather(-1, least)))
