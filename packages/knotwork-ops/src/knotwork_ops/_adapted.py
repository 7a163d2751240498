"""A frozen weight with a low-rank update, which is trained in its place (LoRA: Hu et al., ICLR 2022, section 4.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from knotwork_ops._profiles import MixedWidth, over_units


@dataclass(frozen=True, eq=False)
class AdaptedWeight:
    """``base + scale * up @ down``, computed part by part: nothing of the base's size is built to multiply with.

    Its sub-blocks are those of its parts: ``base[:o, :i] + scale * up[:o] @ down[:, :i]``.

    Attributes:
        base: ``(rows, columns)``.
        up: ``(rows, rank)``; LoRA's B, which starts at zero.
        down: ``(rank, columns)``; LoRA's A.
        scale: LoRA's alpha over the rank.
    """

    base: Tensor
    up: Tensor
    down: Tensor
    scale: float

    def t(self) -> AdaptedWeight:
        """The transposed weight."""
        return AdaptedWeight(self.base.t(), self.down.t(), self.up.t(), self.scale)

    def merged(self) -> Tensor:
        """``(rows, columns)``: the weight that this is."""
        return self.base + self.scale * (self.up @ self.down)


Weight = Tensor | AdaptedWeight
"""What a linear map multiplies with."""


def apply_weight(x: Tensor, weight: Weight, bias: Tensor | None) -> Tensor:
    """``F.linear``; an update goes through its rank."""
    if isinstance(weight, Tensor):
        return F.linear(x, weight, bias)
    return F.linear(x, weight.base, bias) + F.linear(weight.scale * F.linear(x, weight.down), weight.up)


def take_rows(weight: Weight, take: Callable[[Tensor], Tensor]) -> Weight:
    """Some rows of a weight; ``take`` picks them from any tensor that has as many."""
    if isinstance(weight, Tensor):
        return take(weight)
    return AdaptedWeight(take(weight.base), take(weight.up), weight.down, weight.scale)


def take_columns(weight: Weight, take: Callable[[Tensor], Tensor]) -> Weight:
    """Some columns of a weight; ``take`` picks them from any tensor that has as many."""
    if isinstance(weight, Tensor):
        return take(weight)
    return AdaptedWeight(take(weight.base), weight.up, take(weight.down), weight.scale)


def masked_update(x: Tensor, weight: AdaptedWeight, inputs: MixedWidth, outputs: MixedWidth) -> Tensor:
    """What the update adds to the linear map of a mixture: ``((scale * up @ down) * M) x`` of ``linear``, both widths joint.

    ``M`` is the sum of an outer product for each option, so this goes through options x rank units. Unlike the base's masked
    map it builds nothing of the weight's size, nor does its backward pass.
    """
    # Mixture weights may be of a higher precision, as in ``scaled``.
    columns = over_units(inputs.profile, inputs.edges).to(weight.down.dtype)
    rows = over_units(outputs.weights[:, None] * outputs.profile, outputs.edges).to(weight.up.dtype)
    down = (columns[:, None] * weight.down).flatten(0, 1)
    up = (rows.t()[:, :, None] * weight.up[:, None]).flatten(1)
    return F.linear(weight.scale * F.linear(x, down), up)
