"""Operations of several kinds on one edge, each of several kernel sizes: superposed within a kind, summed over kinds.

An edge chooses one of several operations, such as a separable convolution of size 3 or 5 or a dilated one of size 3 or 5.
Operations of one kind k are one operation f_k on kernels of different sizes, which share weights; those of different kinds
share none. With mixture weights a_{k,i} of kind k and size i, the edge computes

    y = sum_k w_k f_k(x; W_k),    w_k = sum_i a_{k,i},    W_k = sum_i (a_{k,i} / w_k) pad(W_{k,i}).

Within a kind this is weight superposition (TangleNAS, section 3) under the sizes' weights given the kind. Over kinds it is the
sum of DARTS (Liu et al. 2019, eq. 2), so every kind runs once, however many sizes it has. With one kind it is superposition
alone, with one size a kind DARTS alone, and with all weight on one operation exactly that operation.

A batch norm in f_k cancels the scale of W_k, so the share w_k must stand outside: a kind's weight would otherwise not reach the
output. Superposing with a_{k,i} undivided then gives the same, up to the norm's epsilon, which weighs the more the smaller the
share is. A kind without weight has the kernel 0 and adds 0, with gradients of 0.

TangleNAS' own code superposes undivided and has no w_k outside. Its kinds thus add up with equal weight whatever alpha
says, and alpha is learnt by what it does within each kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from knotwork_ops._kernel import Kernel, MixedKernel, SlicedKernel
from knotwork_ops._profiles import scaled


class KindShare(NamedTuple):
    """What one kind gives to an edge.

    Attributes:
        weight: the kind's share of the output, 0-dim; the straight-through factor of a sliced operation; None for all of it.
        kernel: how the kind's kernels are used.
    """

    weight: Tensor | None
    kernel: Kernel


def mixed_kinds(operations: Sequence[tuple[str, int]], weights: Tensor) -> dict[str, KindShare]:
    """The share of every kind under a mixture.

    Args:
        operations: kind and kernel size of each option; the sizes of a kind ascend.
        weights: ``(options,)``, the mixture weights, in the same order.
    """
    by_kind: dict[str, list[tuple[int, Tensor]]] = {}
    for (kind, size), weight in zip(operations, weights.unbind(), strict=True):
        by_kind.setdefault(kind, []).append((size, weight))
    shares = {}
    for kind, options in by_kind.items():
        own = torch.stack([weight for _, weight in options])
        share = own.sum()
        given_kind = own / share.clamp_min(torch.finfo(own.dtype).tiny)
        shares[kind] = KindShare(share, MixedKernel(given_kind, tuple(size for size, _ in options)))
    return shares


def sliced_kind(operation: tuple[str, int], factor: Tensor | None = None) -> dict[str, KindShare]:
    """The share of the one kind that an architecture uses.

    Args:
        operation: kind and kernel size.
        factor: straight-through factor of the choice (value one), or None.
    """
    kind, size = operation
    return {kind: KindShare(factor, SlicedKernel(size))}


def run_kinds(
    x: Tensor, functions: Mapping[str, Callable[[Tensor, Kernel], Tensor]], shares: Mapping[str, KindShare]
) -> Tensor:
    """``sum_k w_k f_k(x; W_k)`` over the kinds that have a share.

    Args:
        x: what enters the edge.
        functions: the operation of each kind, called with ``x`` and how its kernels are used.
        shares: of ``mixed_kinds`` or ``sliced_kind``.

    Raises:
        ValueError: no shares.
    """
    outputs = [scaled(functions[kind](x, share.kernel), share.weight) for kind, share in shares.items()]
    if not outputs:
        raise ValueError("an edge needs at least one kind of operation to run")
    total = outputs[0]
    for output in outputs[1:]:
        total = total + output
    return total
