"""Entangled embeddings and other tables: a narrower net reads their first columns."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from knotwork_ops._profiles import MixedWidth, Width, scaled


def columns(table: Tensor, width: Width) -> Tensor:
    """The columns of a table that are used, ``sum_i a_i pad(T[..., :e_i])`` or ``T[..., :e]``.

    For position embeddings, class tokens, and the scale of a layer-scaled branch.

    Args:
        table: ``(..., size)`` at the largest width.
        width: how the last dimension is used.

    Returns:
        ``(..., size)``, or ``(..., width)`` when sliced.
    """
    if isinstance(width, MixedWidth):
        return scaled(table, width.mean)
    return scaled(width.take(table, -1), width.scale)


def embedding(ids: Tensor, weight: Tensor, width: Width) -> Tensor:
    """Rows of a table, ``sum_i a_i pad(W[ids, :e_i])`` or ``W[ids, :e]``.

    Args:
        ids: integer indices of any shape.
        weight: ``(entries, size)`` at the largest width.
        width: how the columns are used.

    Returns:
        ``(*ids.shape, size)``, or ``(*ids.shape, width)`` when sliced.
    """
    # The rows are taken first: a slice of the whole table would get a gradient that is copied into one of the table's size.
    return columns(F.embedding(ids, weight), width)
