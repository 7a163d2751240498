"""DrNAS: Dirichlet Neural Architecture Search (Chen et al., ICLR 2021)."""

from __future__ import annotations

from knotwork_ops import Mixture, SearchSpace
from torch import Tensor
from torch.distributions import Dirichlet
from torch.nn import functional as F

from knotwork_search._protocols import Alphas


class DrNAS:
    """Mixtures are drawn from Dirichlet(elu(alpha) + 1), with pathwise gradients to alpha (their section 3.2)."""

    single_stage = True

    def __init__(self, space: SearchSpace, max_steps: int) -> None:
        self.space = space

    def sample(self, alphas: Alphas, step: int) -> Mixture:
        draws = {name: Dirichlet(concentration(alpha), validate_args=False).rsample() for name, alpha in alphas.items()}
        return Mixture(self.space, draws)

    def probabilities(self, alphas: Alphas) -> Mixture:
        """The Dirichlet's mean: concentrations over their sum."""
        concentrations = {name: concentration(alpha) for name, alpha in alphas.items()}
        return Mixture(self.space, {name: c / c.sum(-1, keepdim=True) for name, c in concentrations.items()})


def concentration(alpha: Tensor) -> Tensor:
    """``elu(alpha) + 1``, kept above zero where float32 would round it there."""
    return (F.elu(alpha) + 1).clamp_min(1e-4)
