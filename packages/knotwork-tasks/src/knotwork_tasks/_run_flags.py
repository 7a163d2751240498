"""The flags of everything that runs for long: when it saves, when it stops, whether it can be repeated exactly."""

from __future__ import annotations

import re
from dataclasses import dataclass

from jsonargparse import ArgumentParser

_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class RunFlags:
    """Settings of a run's course.

    Attributes:
        checkpoint_every: steps between checkpoints.
        deterministic: whether to use deterministic operations alone, and to leave times out of ``metrics.jsonl``.
        max_time: how long this start of the run may take, such as ``1h30m``.
    """

    checkpoint_every: int = 200
    deterministic: bool = False
    max_time: str | None = None

    def __post_init__(self) -> None:
        self.max_seconds  # noqa: B018 # what is no duration is to be refused before the run begins

    @property
    def max_seconds(self) -> float | None:
        """The seconds that ``max_time`` says.

        Raises:
            ValueError: it is no duration, or none at all.
        """
        if self.max_time is None:
            return None
        found = _DURATION.fullmatch(self.max_time.strip())
        seconds = sum(float(n or 0) * unit for n, unit in zip(found.groups(), (3600, 60, 1), strict=True)) if found else 0.0
        if seconds <= 0:
            raise ValueError(f"max_time is {self.max_time!r}: give a duration such as 2h, 1h30m, 45m or 90s")
        return seconds


def add_run_flags(parser: ArgumentParser) -> None:
    """Add them to an app's parser."""
    add = parser.add_argument
    add("--checkpoint-every", type=int, default=RunFlags.checkpoint_every, help="steps between checkpoints")
    add("--max-time", type=str | None, help="stop with a checkpoint before so much time has passed, as 2h, 1h30m or 90s, for "
        "--resume to go on")  # fmt: skip
    add("--deterministic", action="store_true", help="deterministic operations alone, and no times in metrics.jsonl: the same "
        "seed gives the same file")  # fmt: skip
