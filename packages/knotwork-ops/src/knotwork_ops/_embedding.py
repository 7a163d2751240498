"""Entangled embeddings: a narrower net reads the first columns of the table."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from knotwork_ops._profiles import MixedWidth, Width, scaled


def embedding(ids: Tensor, weight: Tensor, width: Width) -> Tensor:
    """Rows of a table, ``sum_i a_i pad(W[ids, :e_i])`` or ``W[ids, :e]``.

    Args:
        ids: integer indices of any shape.
        weight: ``(entries, size)`` at the largest width.
        width: how the columns are used.

    Returns:
        ``(*ids.shape, size)``, or ``(*ids.shape, width)`` when sliced.
    """
    if isinstance(width, MixedWidth):
        return scaled(F.embedding(ids, weight), width.mean)
    return scaled(F.embedding(ids, width.take(weight, 1)), width.scale)
