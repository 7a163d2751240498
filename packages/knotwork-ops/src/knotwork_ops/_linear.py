"""Entangled linear maps: smaller widths use a sub-block of the largest map's weight."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from knotwork_ops._adapted import Weight, apply_weight, masked_update, take_columns, take_rows
from knotwork_ops._fast._masked_linear import masked_linear
from knotwork_ops._profiles import MixedWidth, SlicedWidth, Width, full_precision, product, scaled


def linear(x: Tensor, weight: Weight, bias: Tensor | None, inputs: Width | None = None, outputs: Width | None = None) -> Tensor:
    """A linear map whose input and output dimensions may both be searched.

    Mixed widths of one choice (or joined by ``joint_width``) are superposed jointly, ``y = (W * M) x + b * m``. A single mixed
    width, or two that follow different choices, need no masked weight: ``M`` is then a product of profiles that scale the
    input and the output. The bias follows the output's choice alone. TangleNAS, section 3 (weight and combi-superposition).

    Args:
        x: ``(..., in)``, or ``(..., width)`` when the input is sliced.
        weight: ``(out, in)`` of the largest option; an ``AdaptedWeight`` is mixed and sliced as the weight that it is.
        bias: ``(out,)`` or None.
        inputs: how the input dimension is used; None for all of it whatever the architecture.
        outputs: the same for the output dimension.

    Returns:
        ``(..., out)``, or ``(..., width)`` when the output is sliced.

    Raises:
        TypeError: one dimension is mixed and the other sliced.
    """
    kinds = {type(width) for width in (inputs, outputs) if width is not None}
    if len(kinds) > 1:
        raise TypeError("one dimension is mixed and the other sliced: a call runs either a mixture or one architecture")
    if kinds == {SlicedWidth}:
        return _sliced(x, weight, bias, inputs, outputs)  # type: ignore[arg-type]
    return _mixed(x, weight, bias, inputs, outputs)  # type: ignore[arg-type]


def _mixed(x: Tensor, weight: Weight, bias: Tensor | None, inputs: MixedWidth | None, outputs: MixedWidth | None) -> Tensor:
    if inputs is not None and outputs is not None and inputs.choice == outputs.choice:
        with full_precision(x):
            mask = (outputs.weights[:, None] * outputs.profile).t() @ inputs.profile
            bias = None if bias is None else scaled(bias, outputs.mean)
        if isinstance(weight, Tensor):
            return masked_linear(x, weight, bias, mask, outputs.edges, inputs.edges)
        y = masked_linear(x, weight.base, bias, mask, outputs.edges, inputs.edges)
        return y + masked_update(x, weight, inputs, outputs)
    if inputs is not None:
        x = scaled(x, inputs.mean)
    y = apply_weight(x, weight, bias)
    return y if outputs is None else scaled(y, outputs.mean)


def _sliced(x: Tensor, weight: Weight, bias: Tensor | None, inputs: SlicedWidth | None, outputs: SlicedWidth | None) -> Tensor:
    if outputs is not None:
        weight = take_rows(weight, partial(outputs.take, dim=0))
        bias = None if bias is None else outputs.take(bias, 0)
    if inputs is not None:
        weight = take_columns(weight, partial(inputs.take, dim=1))
    if inputs is None or outputs is None:
        x = x if inputs is None else scaled(x, inputs.scale)
        y = apply_weight(x, weight, bias)
        return y if outputs is None else scaled(y, outputs.scale)
    shared = outputs.factor if inputs.choice == outputs.choice else product(inputs.factor, outputs.factor)
    if bias is None or outputs.scale is None:
        return apply_weight(scaled(x, product(shared, inputs.profile, outputs.profile)), weight, bias)
    y = apply_weight(x, weight, None)
    return scaled(y, product(shared, inputs.profile, outputs.profile)) + scaled(bias, outputs.scale)


class EntangledLinear(torch.nn.Linear):
    """``torch.nn.Linear`` at the largest widths, called with the widths to use. See ``linear``."""

    def forward(self, x: Tensor, inputs: Width | None = None, outputs: Width | None = None) -> Tensor:  # type: ignore[override]
        return linear(x, self.weight, self.bias, inputs, outputs)
