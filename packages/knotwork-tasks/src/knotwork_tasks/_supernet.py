"""The supernet of a space, where this machine has the memory for it."""

from __future__ import annotations

from typing import Any

import torch
from knotwork_spaces import adapted, family


def built(space: Any, checkpoint: Any = None, rank: int | None = None) -> Any:
    """The supernet of a space, around a checkpoint if there is one, with adapters if they have a rank.

    Raises:
        ValueError: its weights do not fit this machine's memory, or as the family's supernet and ``adapted`` do.
    """
    build = family(space.family).supernet
    try:
        supernet = build(space) if checkpoint is None else build(space, checkpoint)
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, MemoryError | torch.OutOfMemoryError) or "memory" in str(error):
            raise ValueError(f"the largest network of the space does not fit this machine's memory: {error}") from error
        raise
    return adapted(supernet, rank)
