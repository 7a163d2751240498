"""A frozen weight with a low-rank update, which is trained in its place (LoRA: Hu et al., ICLR 2022, section 4.1)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from knotwork_ops._profiles import MixedWidth, SlicedWidth, over_units


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


def cut_weight(weight: Weight, inputs: SlicedWidth | None, outputs: SlicedWidth | None) -> Weight:
    """The sub-block that one architecture uses."""
    if isinstance(weight, AdaptedWeight):
        base, up, down = cut(weight.base, inputs, outputs), cut(weight.up, None, outputs), cut(weight.down, inputs, None)
        return AdaptedWeight(base, up, down, weight.scale)
    return cut(weight, inputs, outputs)


def cut(tensor: Tensor, inputs: SlicedWidth | None, outputs: SlicedWidth | None) -> Tensor:
    """Some rows and columns of a tensor."""
    tensor = tensor if outputs is None else outputs.take(tensor, 0)
    return tensor if inputs is None else inputs.take(tensor, 1)


def masked_update(x: Tensor, weight: AdaptedWeight, inputs: MixedWidth, outputs: MixedWidth) -> Tensor:
    """What the update adds to the linear map of a mixture: ``((scale * up @ down) * M) x`` of ``linear``, both widths joint.

    ``M`` is the sum of an outer product for each option, so this is a map of rank options x rank. Unlike the base's masked map
    it builds nothing of the weight's size, nor does its backward pass.
    """
    # Mixture weights may be of a higher precision, as in ``scaled``.
    columns = over_units(inputs.profile, inputs.edges).to(weight.down.dtype)
    rows = over_units(outputs.weights[:, None] * outputs.profile, outputs.edges).to(weight.up.dtype)
    down = (columns[:, None] * weight.down).flatten(0, 1)
    up = (rows.t()[:, :, None] * weight.up[:, None]).flatten(1)
    return F.linear(weight.scale * F.linear(x, down), up)
