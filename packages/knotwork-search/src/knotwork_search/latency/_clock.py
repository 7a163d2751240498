"""How time is told on a device, and what the device is called."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import torch


class Clock(Protocol):
    """Marks moments in a device's work, to be compared once the work is done."""

    def mark(self) -> Any:
        """A moment: when the device has done what it was given so far."""
        ...

    def gaps(self, marks: Sequence[Any]) -> list[float]:
        """Milliseconds between one mark and the next. Waits until the last is reached."""
        ...


class HostClock:
    """The processor's clock, for work that is done when its call returns."""

    def mark(self) -> int:
        return time.perf_counter_ns()

    def gaps(self, marks: Sequence[int]) -> list[float]:
        return [(later - earlier) / 1e6 for earlier, later in pairwise(marks)]


class EventClock:
    """Events in an accelerator's own stream.

    Waiting for the device at every block instead would time something else: a model whose blocks cannot be queued ahead.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def mark(self) -> torch.Event:
        event = torch.Event(self.device, enable_timing=True)
        event.record()
        return event

    def gaps(self, marks: Sequence[torch.Event]) -> list[float]:
        marks[-1].synchronize()
        return [earlier.elapsed_time(later) for earlier, later in pairwise(marks)]


def clock_of(device: torch.device) -> Clock:
    """The clock that tells a device's time."""
    return HostClock() if device.type == "cpu" else EventClock(device)


def device_name(device: torch.device) -> str:
    """What the device is, for people and for telling timings of one from those of another."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        return f"{_processor()}, {torch.get_num_threads()} threads"
    return f"{device.type} of {_processor()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()
