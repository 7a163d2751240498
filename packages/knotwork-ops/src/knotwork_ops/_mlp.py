"""The hidden width of an MLP: a ratio of the embedding width."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from knotwork_ops._profiles import MixedWidth, SlicedWidth, Width, joint_width


def hidden_units(embed: int, ratio: float) -> int:
    """Hidden units of an MLP of this ratio. Raises ValueError when ratio x embedding is not a whole number."""
    units = embed * ratio
    # A ratio such as 4.1 is not exact in binary, so its product may miss a whole number by a rounding error.
    if not math.isfinite(units) or abs(units - round(units)) > 1e-6:
        raise ValueError(f"MLP ratio {ratio} of embedding width {embed} is {units} hidden units: not a whole number")
    return round(units)


def mlp_width(embed: Width, ratios: Sequence[float], choice: Tensor | float, factor: Tensor | None = None) -> Width:
    """How an MLP's hidden dimension is used, to be passed as ``outputs`` of its first map and ``inputs`` of its second.

    Args:
        embed: how the embedding is used, by prefixes.
        ratios: the options of the MLP ratio.
        choice: their mixture weights ``(options,)`` when the embedding is mixed, or the chosen ratio when it is sliced.
        factor: the chosen ratio's straight-through factor.

    Raises:
        TypeError: mixture weights with a sliced embedding, or the reverse.
        ValueError: a ratio that gives no whole number of units, or an embedding that is not used by prefixes.
    """
    if isinstance(embed, MixedWidth) and isinstance(choice, Tensor):
        if embed.prefixes is None:
            raise ValueError(f"an MLP ratio of choice {embed.choice!r} needs options that are prefixes")
        widths = [[hidden_units(e, ratio) for ratio in ratios] for e in embed.prefixes]
        return joint_width(embed, choice, widths)
    if isinstance(embed, SlicedWidth) and isinstance(embed.units, int) and not isinstance(choice, Tensor):
        return SlicedWidth(embed.choice, hidden_units(embed.units, choice), embed.factor, factor)
    raise TypeError("embedding and MLP ratio must both be mixed or both sliced")
