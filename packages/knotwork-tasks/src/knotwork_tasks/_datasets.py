"""What datasets of every kind share: names on the Hub, faults that are explained already, and the two parts of a search."""

from __future__ import annotations

import re

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)


class SourceError(ValueError):
    """A fault of a dataset's source that is explained already; its loader explains every other one."""


def is_hub_name(name: str) -> bool:
    """Whether `name` has the form `name` or `owner/name`."""
    return _HUB_NAME.fullmatch(name) is not None


def count_for_weights(total: int, train_portion: float, unit: str) -> int:
    """How many items the weights get; the rest is for the architecture parameters.

    Args:
        total: items in all.
        train_portion: the weights' share.
        unit: what the items are called in the message.

    Raises:
        ValueError: the portion is not between 0 and 1, or one part would be empty.
    """
    if not 0.0 < train_portion < 1.0:
        raise ValueError(f"train_portion must lie between 0 and 1, got {train_portion}")
    for_weights = round(total * train_portion)
    if not 0 < for_weights < total:
        raise ValueError(
            f"train_portion {train_portion} of {total} {unit} leaves {for_weights} for the weights and "
            f"{total - for_weights} for the architecture: neither part may be empty"
        )
    return for_weights
