"""Entangled convolution over channels: a narrower net uses the first filters."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from knotwork_ops._profiles import MixedWidth, Width, scaled


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    outputs: Width,
    *,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
) -> Tensor:
    """A convolution whose output channels are searched: ``sum_i a_i pad(conv(x; W[:e_i], b[:e_i]))``.

    A mixture needs no masked filters: an output channel's profile scales what it computes.

    Args:
        x: ``(batch, in, height, width)``.
        weight: ``(out, in, kernel height, kernel width)`` of the largest option.
        bias: ``(out,)`` or None.
        outputs: how the output channels are used.
        stride: of the kernel, in pixels.
        padding: zeros around the image, in pixels.

    Returns:
        ``(batch, out, height, width)``, or ``(batch, channels, height, width)`` when sliced.
    """
    if isinstance(outputs, MixedWidth):
        return scaled(F.conv2d(x, weight, bias, stride, padding), outputs.mean[:, None, None])
    bias = None if bias is None else outputs.take(bias, 0)
    return scaled(F.conv2d(x, outputs.take(weight, 0), bias, stride, padding), outputs.scale)
