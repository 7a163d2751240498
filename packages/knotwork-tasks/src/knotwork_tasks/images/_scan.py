"""Which images of a source can be decoded, and whether they are all grey."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import perf_counter
from typing import NamedTuple

from knotwork_tasks.images._images import ReadImage, is_grey

_ROWS_A_TASK = 256
_MOST_THREADS = 8
_SLOW_SECONDS = 5e-4
"""An image that takes longer than this is mostly decoding."""


class Scan(NamedTuple):
    """What a scan found.

    Attributes:
        usable: the rows whose image decodes, ascending.
        grey: whether all of these are grey.
        fault: why the first of the others does not decode; empty when all do.
    """

    usable: list[int]
    grey: bool
    fault: str


def scan(read: ReadImage, count: int) -> Scan:
    """Decode rows 0 to `count - 1` once each: only decoding an image to its end shows that it is whole."""
    begun = perf_counter()
    found = _judge_all(read, range(min(count, _ROWS_A_TASK)))
    slow = perf_counter() - begun > len(found) * _SLOW_SECONDS
    tasks = [range(start, min(start + _ROWS_A_TASK, count)) for start in range(len(found), count, _ROWS_A_TASK)]
    # Threads share Pillow's decoding, but would only wait for each other's Python where an image takes little of it.
    with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1) if slow else 1) as pool:
        for verdicts in pool.map(partial(_judge_all, read), tasks):
            found += verdicts
    faults = (verdict for verdict in found if isinstance(verdict, str))
    return Scan(
        usable=[row for row, verdict in enumerate(found) if not isinstance(verdict, str)],
        grey=all(verdict for verdict in found if not isinstance(verdict, str)),
        fault=next(faults, ""),
    )


def _judge_all(read: ReadImage, rows: range) -> list[bool | str]:
    return [_judge(read, row) for row in rows]


def _judge(read: ReadImage, row: int) -> bool | str:
    """Whether the image is grey, or why it cannot be read."""
    try:
        return is_grey(read(row))
    except Exception as error:  # each of Pillow's decoders has its own for a broken file
        return f"{type(error).__name__}: {error}"
