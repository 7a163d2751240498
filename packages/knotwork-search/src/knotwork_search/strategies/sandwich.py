"""The sandwich rule: Universally Slimmable Networks (Yu & Huang, ICCV 2019), BigNAS (Yu et al., ECCV 2020)."""

from __future__ import annotations

from knotwork_ops import SearchSpace, Selection

from knotwork_search._protocols import Alphas
from knotwork_search._sampling import extremes
from knotwork_search.strategies.spos import SPOS


class Sandwich(SPOS):
    """Every step trains the largest architecture on the targets, and the smallest and some drawn uniformly on what it predicts.

    The predictions are those of the same step (in-place distillation, as in BigNAS). The gradient is that of the mean
    over the architectures.

    Args:
        space: the search space.
        max_steps: of the training.
        random: how many architectures are drawn a step, rounded.
        searcher: of the second stage.
    """

    distils = True

    def __init__(self, space: SearchSpace, max_steps: int, random: float = 2.0, *, searcher: str = "evolution") -> None:
        super().__init__(space, max_steps, searcher=searcher)
        self.random = round(random)

    def weight_selections(self, alphas: Alphas, step: int) -> list[Selection]:
        """The largest, the smallest, and the drawn ones."""
        return [*extremes(self.space), *(self.sample(alphas, step) for _ in range(self.random))]
