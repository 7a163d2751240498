"""The definitions of design.md, section 3, written out naively: every option's sub-block is padded with zeros and summed.

Nothing here knows how knotwork_ops computes. Loops over options, heads and layers stay loops, so that each line can be read
against the table of the design.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def place(part: Tensor, start: int, size: int) -> Tensor:
    """``part`` as the units ``start...`` of a last dimension of ``size`` units that are zero elsewhere."""
    return F.pad(part, (start, size - start - part.shape[-1]))


def padded_block(weight: Tensor, rows: int, columns: int) -> Tensor:
    """``weight[:rows, :columns]`` in a matrix of the full shape that is zero elsewhere."""
    return F.pad(weight[:rows, :columns], (0, weight.shape[1] - columns, 0, weight.shape[0] - rows))


def linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    blocks: Iterable[tuple[Tensor, int, int]],
    bias_blocks: Iterable[tuple[Tensor | float, int]],
) -> Tensor:
    """The sum of padded sub-blocks, each given as (its mixture weight, rows, columns), and the same of the bias."""
    y = x.new_zeros(*x.shape[:-1], weight.shape[0])
    for share, rows, columns in blocks:
        y = y + share * (x @ padded_block(weight, rows, columns).T)
    if bias is not None:
        for share, rows in bias_blocks:
            y = y + share * place(bias[:rows], 0, len(bias))
    return y


def embedding(ids: Tensor, weight: Tensor, a: Tensor, options: Sequence[int]) -> Tensor:
    y = weight.new_zeros(*ids.shape, weight.shape[1])
    for share, width in zip(a, options, strict=True):
        y = y + share * place(weight[ids][..., :width], 0, weight.shape[1])
    return y


def columns(table: Tensor, a: Tensor, options: Sequence[int]) -> Tensor:
    y = torch.zeros_like(table)
    for share, width in zip(a, options, strict=True):
        y = y + share * place(table[..., :width], 0, table.shape[-1])
    return y


def single_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
    """A convolution, pixel by pixel."""
    x = F.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    rows = []
    for top in range(0, x.shape[2] - weight.shape[2] + 1, stride[0]):
        row = []
        for left in range(0, x.shape[3] - weight.shape[3] + 1, stride[1]):
            window = x[:, :, top : top + weight.shape[2], left : left + weight.shape[3]]
            pixel = window.flatten(1) @ weight.flatten(1).T
            row.append(pixel if bias is None else pixel + bias)
        rows.append(torch.stack(row, -1))
    return torch.stack(rows, -2)


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    a: Tensor,
    options: Sequence[int],
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
) -> Tensor:
    """Every option's own filters, its output channels padded with zeros."""
    y: Tensor | float = 0.0
    for share, channels in zip(a, options, strict=True):
        part = single_conv2d(x, weight[:channels], None if bias is None else bias[:channels], stride, padding)
        y = y + share * F.pad(part, (0, 0, 0, 0, 0, len(weight) - channels))
    assert isinstance(y, Tensor)
    return y


def prefix_norm(x: Tensor, weight: Tensor, bias: Tensor, width: int, eps: float) -> Tensor:
    """The layer norm of the first ``width`` units, padded."""
    part = x[..., :width]
    mean = part.sum(-1, keepdim=True) / width
    variance = ((part - mean) ** 2).sum(-1, keepdim=True) / width
    normed = (part - mean) / (variance + eps).sqrt() * weight[:width] + bias[:width]
    return place(normed, 0, x.shape[-1])


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, a: Tensor, options: Sequence[int], eps: float = 1e-5) -> Tensor:
    y = torch.zeros_like(x)
    for share, width in zip(a, options, strict=True):
        y = y + share * prefix_norm(x, weight, bias, width, eps)
    return y


def rms_norm(x: Tensor, weight: Tensor, a: Tensor, options: Sequence[int], eps: float = 1e-6) -> Tensor:
    """Every option divides its prefix by the root of the mean of its own squares."""
    y = torch.zeros_like(x)
    for share, width in zip(a, options, strict=True):
        part = x[..., :width]
        squares = (part**2).sum(-1, keepdim=True) / width
        y = y + share * place(part / (squares + eps).sqrt() * weight[:width], 0, x.shape[-1])
    return y


def single_head(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    """Softmax attention without a scale."""
    scores = q @ k.transpose(-1, -2)
    if causal:
        tokens = scores.shape[-1]
        later = torch.tensor([[column > row for column in range(tokens)] for row in range(tokens)])
        scores = scores.masked_fill(later, -torch.inf)
    exponents = (scores - scores.amax(-1, keepdim=True)).exp()
    return exponents / exponents.sum(-1, keepdim=True) @ v


def head_prefixes(x: Tensor, heads: int, embed: int) -> Tensor:
    """The first embed / heads dims of each of ``heads`` super-heads of ``x``, zero elsewhere."""
    size = x.shape[-1]
    y = torch.zeros_like(x)
    for head in range(heads):
        start = head * (size // heads)
        y = y + place(x[..., start : start + embed // heads], start, size)
    return y


def attention(
    q: Tensor, k: Tensor, v: Tensor, a: Tensor, embeds: Sequence[int], b: Tensor, heads: Sequence[int], causal: bool
) -> Tensor:
    y = torch.zeros_like(q)
    for share, count in zip(b, heads, strict=True):
        mixed_q, mixed_k, mixed_v = torch.zeros_like(q), torch.zeros_like(k), torch.zeros_like(v)
        for weight, embed in zip(a, embeds, strict=True):
            mixed_q = mixed_q + weight * (embed / count) ** -0.5 * head_prefixes(q, count, embed)
            mixed_k = mixed_k + weight * head_prefixes(k, count, embed)
            mixed_v = mixed_v + weight * head_prefixes(v, count, embed)
        width = q.shape[-1] // count
        for start in range(0, q.shape[-1], width):
            own = slice(start, start + width)
            out = single_head(mixed_q[..., own], mixed_k[..., own], mixed_v[..., own], causal)
            y = y + share * place(out, start, q.shape[-1])
    return y


def fixed_head_attention(
    q: Tensor, k: Tensor, v: Tensor, b: Tensor, heads: Sequence[int], head_dim: int, causal: bool
) -> Tensor:
    """Every head count attends on its own with its first heads, each ``head_dim`` wide."""
    y = torch.zeros_like(q)
    for share, count in zip(b, heads, strict=True):
        for head in range(count):
            own = slice(head * head_dim, (head + 1) * head_dim)
            out = single_head(q[..., own] * head_dim**-0.5, k[..., own], v[..., own], causal)
            y = y + share * place(out, own.start, q.shape[-1])
    return y


def depth(x: Tensor, layers: Sequence[Callable[[Tensor], Tensor]], weights: Tensor, options: Sequence[int]) -> Tensor:
    """Every depth is run from the start on its own."""
    y = torch.zeros_like(x)
    for share, count in zip(weights, options, strict=True):
        state = x
        for layer in layers[:count]:
            state = layer(state)
        y = y + share * state
    return y


def padded_window(kernel: Tensor, size: int) -> Tensor:
    """The centred window of ``size`` of a kernel ``(..., k, k)``, in a kernel of the full size that is zero elsewhere."""
    edge = (kernel.shape[-1] - size) // 2
    window = kernel[..., edge : edge + size, edge : edge + size]
    return F.pad(window, (edge, edge, edge, edge))


def separable_conv2d(
    x: Tensor, depthwise: Tensor, pointwise: Tensor, a: Tensor, sizes: Sequence[int], stride: int = 1, dilation: int = 1
) -> Tensor:
    """The sum of the padded kernels, spread by the dilation, pixel by pixel over every channel; then the pointwise map."""
    size = depthwise.shape[-1]
    summed = torch.zeros_like(depthwise)
    for share, option in zip(a, sizes, strict=True):
        summed = summed + share * padded_window(depthwise, option)
    reach = dilation * (size - 1) + 1
    spread = x.new_zeros(len(depthwise), 1, reach, reach)
    spread[..., ::dilation, ::dilation] = summed
    padding = (reach // 2, reach // 2)
    channels = [
        single_conv2d(x[:, [channel]], spread[[channel]], None, (stride, stride), padding) for channel in range(len(depthwise))
    ]
    return torch.einsum("bchw,oc->bohw", torch.cat(channels, 1), pointwise[:, :, 0, 0])


def normalised(x: Tensor, eps: float = 1e-5) -> Tensor:
    """Batch norm without weights: every channel minus its mean, over its standard deviation."""
    centred = x - x.mean((0, 2, 3), keepdim=True)
    return centred / (centred.square().mean((0, 2, 3), keepdim=True) + eps).sqrt()
