"""Where the time of a search goes: a trace of some of its steps, and the operations that took longest."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

SKIPPED = 3
"""Steps of a kind before the first that is profiled: their buffers, kernels and compilations are not yet there."""
PROFILED = 6
LINES = 10


class StepProfile:
    """Profiles six steps of each kind with torch's profiler, after three that are not.

    Args:
        folder: where ``profile-KIND.json`` goes, a trace for Perfetto or Chromium's viewer.
        tell: is given the summary of a kind, ten lines or fewer, when its steps are done.
    """

    def __init__(self, folder: Path, tell: Callable[[str], None]) -> None:
        self.folder, self.tell = folder, tell
        self._seen: Counter[str] = Counter()
        self._kind = ""
        self._profiler: profile | None = None
        self._started = 0.0

    @contextmanager
    def around(self, kind: str) -> Iterator[None]:
        """Count one step of a kind, and profile it if it is among those to be profiled."""
        if kind != self._kind:
            self.close()
        self._kind = kind
        self._seen[kind] += 1
        if self._seen[kind] == SKIPPED + 1:
            activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
            self._profiler, self._started = profile(activities=activities), time.perf_counter()
            self._profiler.start()
        yield
        if self._profiler is not None and self._seen[kind] == SKIPPED + PROFILED:
            profiler, self._profiler = self._profiler, None
            self._finish(profiler, kind)

    def close(self) -> None:
        """Drop what is being profiled: too few steps of its kind were taken."""
        if self._profiler is not None:
            self._profiler.stop()
            self._profiler = None

    def _finish(self, profiler: profile, kind: str) -> None:
        took = (time.perf_counter() - self._started) / PROFILED
        profiler.stop()
        path = self.folder / f"profile-{kind}.json"
        profiler.export_chrome_trace(str(path))
        self.tell(f"{kind}: {took:.3f} s a step; trace in {path}\n{summary(profiler.key_averages())}")


def summary(events: Any) -> str:
    """The operations that took longest by themselves, one line each: share of the time, name, calls."""
    times = {event.key: (_own_time(event), event.count) for event in events}
    total = sum(own for own, _ in times.values()) or 1
    longest = sorted(times.items(), key=lambda item: -item[1][0])[: LINES - 1]
    return "\n".join(f"{own / total:7.1%}  {name} ({count} calls)" for name, (own, count) in longest)


def _own_time(event: Any) -> float:
    """Microseconds on the accelerator where there is one, else on the host."""
    return event.self_device_time_total if torch.cuda.is_available() else event.self_cpu_time_total
