"""SPOS: Single Path One-Shot NAS with Uniform Sampling (Guo et al., ECCV 2020)."""

from __future__ import annotations

from knotwork_ops import HardSample, Mixture, SearchSpace

from knotwork_search._protocols import Alphas, Strategy
from knotwork_search._sampling import draw_architecture, uniform_mixture


class SPOS(Strategy):
    """Every step trains one architecture drawn uniformly (their section 3.2); the search follows on the trained supernet.

    Args:
        space: the search space.
        max_steps: of the training.
        searcher: of the second stage, one of ``BlackBox``'s; evolution is the paper's (their algorithm 1).
    """

    single_stage = False

    def __init__(self, space: SearchSpace, max_steps: int, *, searcher: str = "evolution") -> None:
        self.space, self.searcher = space, searcher

    def sample(self, alphas: Alphas, step: int) -> HardSample:
        return HardSample(draw_architecture(self.probabilities(alphas)))

    def probabilities(self, alphas: Alphas) -> Mixture:
        return uniform_mixture(self.space)
