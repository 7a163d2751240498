"""A toy-cell net under a mixture, written out naively from a state dict: option by option, every kernel padded and summed.

The network is written after the description of the benchmark, the mixture after the formula of ``knotwork_ops._kinds``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

State = Mapping[str, Tensor]


def norm(x: Tensor) -> Tensor:
    """Batch norm without weights, under the statistics of the batch."""
    centred = x - x.mean((0, 2, 3), keepdim=True)
    return centred / (centred.square().mean((0, 2, 3), keepdim=True) + 1e-5).sqrt()


def separable(x: Tensor, state: State, name: str, sizes: Sequence[tuple[Tensor, int]], stride: int, dilation: int) -> Tensor:
    """ReLU, depthwise convolution with the sum of the padded windows, pointwise convolution, norm."""
    kernel = state[f"{name}.depthwise.weight"]
    full, summed = kernel.shape[-1], torch.zeros_like(kernel)
    for share, size in sizes:
        edge = (full - size) // 2
        window = kernel[:, :, edge : full - edge, edge : full - edge]
        summed = summed + share * F.pad(window, (edge, edge, edge, edge))
    padding = dilation * (full - 1) // 2
    y = F.conv2d(F.relu(x), summed, None, stride, padding, dilation, groups=len(kernel))
    return norm(torch.einsum("bchw,oc->bohw", y, state[f"{name}.pointwise.weight"][:, :, 0, 0]))


def edge(x: Tensor, state: State, name: str, options: Sequence[str], weights: Tensor, stride: int) -> Tensor:
    """``sum_k w_k f_k(x; sum_i (a_ki / w_k) pad(W_ki))`` over separable and dilated convolutions."""
    total: Tensor | float = 0.0
    for kind in ("sep_conv", "dil_conv"):
        own = [(weight, int(option[-1])) for weight, option in zip(weights, options, strict=True) if option.startswith(kind)]
        share = sum(weight for weight, _ in own)
        if not own or share == 0:
            continue
        sizes = [(weight / share, size) for weight, size in own]
        if kind == "sep_conv":
            y = separable(x, state, f"{name}.sep_conv.0", sizes, stride, 1)
            y = separable(y, state, f"{name}.sep_conv.1", sizes, 1, 1)
        else:
            y = separable(x, state, f"{name}.dil_conv.0", sizes, stride, 2)
        total = total + share * y
    assert isinstance(total, Tensor)
    return total


def logits(state: State, image: Tensor, options: Mapping[str, Sequence[str]], weights: Mapping[str, Tensor]) -> Tensor:
    x = image
    for number, kind in enumerate(("reduce", "normal", "reduce")):
        cell, stride = f"cells.{number}", 2 if kind == "reduce" else 1
        zero = norm(F.conv2d(F.relu(x), state[f"{cell}.preprocess.conv.weight"]))

        def out(nodes: str, x: Tensor, stride: int, cell: str = cell, kind: str = kind) -> Tensor:
            choice = f"{kind}_{nodes}"
            return edge(x, state, f"{cell}.edges.{nodes}", options[choice], weights[choice], stride)

        one = out("0_1", zero, stride)
        two = out("0_2", zero, stride) + out("1_2", one, 1)
        x = torch.cat([one, two], 1)
    x = F.max_pool2d(x, 2).flatten(1)
    x = F.relu(x @ state["projection.weight"].T + state["projection.bias"])
    return x @ state["classifier.weight"].T + state["classifier.bias"]
