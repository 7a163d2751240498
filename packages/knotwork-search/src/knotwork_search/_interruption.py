"""What asks a run to stop before its end: a signal, or the end of the time it was given."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator

LOOK_EVERY = 10
"""Steps between two looks of several processes at what the others were asked, for which they wait for each other."""
LEAST_RESERVE = 1.0
"""Seconds before the deadline at which a run stops at the latest."""
RESUME = "--resume goes on from the newest checkpoint, if there is one already"


class _Cause(NamedTuple):
    reason: str
    exit_code: int


TIME_OVER = int(getattr(signal, "SIGALRM", 14))
_CAUSES = {
    TIME_OVER: _Cause("its time (--max-time) is over", 0),
    int(signal.SIGTERM): _Cause("terminated", 128 + signal.SIGTERM),
    int(signal.SIGINT): _Cause("interrupted", 128 + signal.SIGINT),
}


class RunInterrupted(KeyboardInterrupt):
    """A run was asked to stop, and can go on later, from its newest checkpoint if it has one.

    A ``KeyboardInterrupt``, for libraries let that pass where they catch what goes wrong.

    Attributes:
        exit_code: for the program to end with: 0 when the time is over, else 128 and the signal's number.
    """

    def __init__(self, number: int, advice: str) -> None:
        reason, self.exit_code = _CAUSES[number]
        super().__init__(f"{reason}: {advice}")


class Interruption:
    """Listens for SIGINT and SIGTERM, and watches the clock, for the length of a ``with`` block.

    Within ``held``, which is for steps, what asks to stop is only noted, and ``stop_if_asked`` saves and stops between two of
    them. Elsewhere in the block there is nothing to save, so it raises at once. A second SIGINT ends the process.

    Args:
        max_seconds: to run for, from now on; None for no limit. A run stops early enough for one more step and a checkpoint.
        advice: how to go on, for whoever reads that it was interrupted.
    """

    def __init__(self, max_seconds: float | None = None, *, advice: str = RESUME) -> None:
        self._advice = advice
        self._looked = time.monotonic()
        self._deadline = None if max_seconds is None else self._looked + max_seconds
        self._asked: int | None = None
        self._held = False
        self._longest = 0.0
        self._looks = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        # Signals can be listened to by the main thread alone.
        if threading.current_thread() is threading.main_thread():
            known = signal.valid_signals()
            self._before = {number: signal.signal(number, self._hear) for number in _CAUSES if number in known}
            if self._deadline is not None and hasattr(signal, "setitimer"):
                signal.setitimer(signal.ITIMER_REAL, max(1e-3, self._deadline - time.monotonic()))
        return self

    def __exit__(self, *_: object) -> None:
        if self._before and hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    @contextmanager
    def held(self) -> Iterator[None]:
        """Note what asks to stop, in place of raising."""
        self._held, self._looked = True, time.monotonic()
        try:
            yield
        finally:
            self._held = False

    def stop_if_asked(self, accelerator: Accelerator, save: Callable[[], None]) -> None:
        """Between two steps: when any process was asked to stop, save a checkpoint and stop in all of them.

        Args:
            accelerator: of the processes, each of which must call this after each of its steps.
            save: writes the checkpoint.

        Raises:
            RunInterrupted: it was asked.
        """
        self._looks += 1
        if accelerator.num_processes > 1 and self._looks % LOOK_EVERY:
            return
        asked = self._look()
        if accelerator.num_processes > 1:
            everywhere: Any = accelerator.gather(torch.tensor([asked or 0], device=accelerator.device))
            asked = int(everywhere.max())
        if asked:
            save()
            raise RunInterrupted(asked, self._advice)

    def _look(self) -> int | None:
        now = time.monotonic()
        # What passed since the last look is steps and perhaps a checkpoint: as much may pass until the next, and for another.
        self._longest, self._looked = max(self._longest, now - self._looked), now
        if self._asked is None and self._deadline is not None and now + max(LEAST_RESERVE, 2 * self._longest) > self._deadline:
            self._asked = TIME_OVER
        return self._asked

    def _hear(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        if self._asked is None:
            self._asked = number
        if not self._held:
            raise RunInterrupted(self._asked, self._advice)
        if number == signal.SIGINT:
            # Not through a stream, which the signal may have interrupted in the midst of writing.
            cursor = b"\x1b[?25h" if sys.stderr.isatty() else b""
            os.write(2, cursor + b"\nsaving a checkpoint after this step; interrupt again to end at once\n")
