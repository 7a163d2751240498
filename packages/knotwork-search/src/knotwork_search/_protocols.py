"""The one seam between search and everything else (design.md, section 1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

from knotwork_ops import Architecture, HardSample, Mixture, SearchSpace, Selection
from torch import Tensor, nn

Batch = Mapping[str, Tensor]
Alphas = Mapping[str, Tensor]
"""Architecture parameters: for each choice, a leaf tensor of the choice's shape."""


class Supernet(Protocol):
    """What the search needs of a supernet: an ``nn.Module`` whose calls take the architecture as an argument."""

    @property
    def space(self) -> SearchSpace: ...

    @property
    def training(self) -> bool: ...

    def loss(self, batch: Batch, arch: Selection) -> Tensor:
        """Mean loss of a batch, 0-dim."""
        ...

    def teach(self, batch: Batch, arch: Architecture) -> tuple[Tensor, Batch]:
        """The loss, and the batch with the architecture's predictions as targets. It serves until the weights change."""
        ...

    def metrics(self, batch: Batch, arch: Selection) -> dict[str, Tensor]:
        """Evaluation figures of a batch, each a 0-dim mean; ``loss`` among them."""
        ...

    def cost(self, arch: Mixture | Architecture) -> dict[str, Tensor]:
        """Exact cost by currency, 0-dim; expected, and differentiable, under a mixture. Never falls when an option grows."""
        ...

    def extract(self, arch: Architecture) -> nn.Module:
        """The plain upstream model of an architecture."""
        ...

    def compile(self) -> Any:
        """Compile what the loss of a mixture spends its time in."""
        ...

    def train(self, mode: bool = True) -> Any: ...

    def to(self, *args: Any, **kwargs: Any) -> Any: ...

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]: ...


@runtime_checkable
class TimedSupernet(Supernet, Protocol):
    """What measuring latency needs beside: the blocks of the plain models, and what one pass of them is given."""

    measured_costs: dict[str, Callable[[Mixture | Architecture], Tensor]]
    """Costs by currency that ``cost`` tells after the exact ones."""

    @property
    def block_choices(self) -> tuple[str, ...]:
        """The choices that say, with those that all blocks share, how large one block is."""
        ...

    def timed_blocks(self, model: Any) -> Iterable[nn.Module]:
        """The blocks of an extracted model, in the order that they run in."""
        ...

    def timed_input(self) -> dict[str, Tensor]:
        """Keyword arguments of an extracted model's pass over one item of full size, the batch being one."""
        ...


class Strategy(Protocol):
    """How architectures are drawn from architecture parameters. Built as ``Strategy(space, max_steps)``."""

    single_stage: bool
    """Whether the architecture parameters are learnt by gradient; else they stay as they are and a search follows training."""
    searcher: str = "random"
    """The search that follows, one of ``BlackBox``'s."""
    second_order: bool = False
    """Whether the gradient of the architecture parameters is that of the held-out loss after the next weight step."""
    distils: bool = False
    """Whether the first selection of a weight step teaches the others."""

    def sample(self, alphas: Alphas, step: int) -> Mixture | HardSample:
        """What to run at a step. Draws from torch's global generator, which the loop seeds by step."""
        ...

    def weight_selections(self, alphas: Alphas, step: int) -> list[Selection]:
        """What a weight step trains; one sample by default."""
        return [self.sample(alphas, step)]

    def probabilities(self, alphas: Alphas) -> Mixture:
        """The weight of each option in expectation: for cost, reports and discretisation."""
        ...

    def after_step(self, alphas: Alphas, number: int, total: int) -> None:
        """May change the architecture parameters after their step of a number, from 1 to the total; nothing by default."""

    def penalty(self, alphas: Alphas, step: int) -> Tensor | None:
        """What is added to the held-out loss of an architecture step, 0-dim; nothing by default."""
        return None
