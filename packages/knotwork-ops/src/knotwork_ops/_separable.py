"""Entangled separable convolution: smaller kernels use the centre of the largest, pointwise weights are shared."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from knotwork_ops._kernel import Kernel


def separable_conv2d(
    x: Tensor, depthwise: Tensor, pointwise: Tensor, kernel: Kernel, *, stride: int = 1, dilation: int = 1
) -> Tensor:
    """A depthwise convolution whose kernel size is searched, then a pointwise one that all sizes share.

    With stride 1 the image keeps its size whatever the kernel's: the padding is half the kernel's reach. So all sizes can be
    superposed, and one convolution serves them.

    Args:
        x: ``(batch, channels, height, width)``.
        depthwise: ``(channels, 1, size, size)`` of the largest size.
        pointwise: ``(out, channels, 1, 1)``.
        kernel: how the depthwise kernel is used.
        stride: of the depthwise kernel, in pixels.
        dilation: distance of the depthwise kernel's taps, in pixels.

    Returns:
        ``(batch, out, ceil(height / stride), ceil(width / stride))``.
    """
    window = kernel.take(depthwise)
    padding = dilation * (window.shape[-1] // 2)
    x = F.conv2d(x, window, None, stride, padding, dilation, groups=len(window))
    return F.conv2d(x, pointwise)
