"""What a run tells while it runs: metrics.jsonl, trackers, and a bar or plain lines for the person watching."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from knotwork_search._budget import amount
from knotwork_search._files import write_atomically

FLUSH_EVERY = 10
"""Records held back before they are written, so that an accelerator is not made to wait for the host at every step."""
PLAIN_LINE_EVERY = 10.0
"""Seconds between two lines where there is no terminal."""


class Recorder:
    """Collects the records of a run.

    Args:
        path: of ``metrics.jsonl``, or None to keep nothing.
        max_steps: length of the bar.
        accelerator: whose main process writes and shows, and whose trackers are told.
        unit: what throughput counts, such as ``tokens``.
        units_per_step: how many of them a weight step processes, over all processes.
        console: where to show; the standard error stream by default.
        timed: whether records tell the throughput, which no two runs share.
    """

    def __init__(
        self,
        path: Path | None,
        max_steps: int,
        accelerator: Accelerator,
        *,
        unit: str = "items",
        units_per_step: float = 1,
        console: Console | None = None,
        timed: bool = True,
    ) -> None:
        self.accelerator, self.timed = accelerator, timed
        self.console = console or Console(stderr=True)
        self.unit, self.units_per_step = unit, units_per_step
        self._path = path if accelerator.is_main_process else None
        self._waiting: list[dict[str, Any]] = []
        self._latest: dict[str, float] = {}
        self._likeliest = ""
        self._max_steps = max_steps
        self._bar = self._make_bar()
        self._task = self._bar.add_task("", total=max_steps)
        self._last_line, self._shown = 0.0, 0
        self._last_step, self._last_time = -1, time.perf_counter()
        self._first: tuple[int, float] | None = None

    def __enter__(self) -> Recorder:
        if self._bar.live.console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()
        if self._bar.live.is_started:
            self._bar.stop()

    def resume_at(self, step: int) -> None:
        """Drop what was recorded at or after a step, and a last line that a kill cut short."""
        if self._path is None or not self._path.exists():
            return
        kept = []
        for line in self._path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                continue
            number = record.get("step") if isinstance(record, dict) else None
            if isinstance(number, int) and number < step:
                kept.append(line)
        write_atomically(self._path, "".join(line + "\n" for line in kept))

    def record(self, step: int, split: str, values: Mapping[str, Any]) -> None:
        """Note the values of a step; tensors are read later."""
        self._waiting.append({"step": step, "split": split, "time": time.perf_counter(), **values})
        if len(self._waiting) >= FLUSH_EVERY:
            self.flush()

    def flush(self) -> None:
        """Write what waits, and show the latest."""
        lines = []
        for record in self._waiting:
            plain = {key: _plain(value) for key, value in record.items() if key != "time"}
            if record["split"] == "weight" and self.timed:
                plain[f"{self.unit}_per_second"] = self._throughput(record["step"], record["time"])
            if self.accelerator.trackers:
                flat = {f"{plain['split']}/{key}": value for key, value in plain.items() if isinstance(value, int | float)}
                self.accelerator.log(flat, step=record["step"])
            self._note(plain)
            lines.append(json.dumps(plain) + "\n")
        self._waiting.clear()
        if self._path is not None and lines:
            # In one write, so that a kill hardly ever leaves a part of a line; readers pass over one.
            with self._path.open("ab", buffering=0) as file:
                file.write("".join(lines).encode())
        self._show()

    def likeliest(self, text: str) -> None:
        """Name the likeliest architecture for the next time progress is shown."""
        self._likeliest = text

    def message(self, text: str) -> None:
        """Show one line."""
        if self.accelerator.is_main_process:
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _make_bar(self) -> Progress:
        columns = (BarColumn(20), MofNCompleteColumn(), TextColumn("{task.description}", markup=False), TimeRemainingColumn())
        return Progress(*columns, console=self.console, disable=not self.accelerator.is_main_process, transient=True)

    def _throughput(self, step: int, moment: float) -> float | None:
        elapsed, steps = moment - self._last_time, step - self._last_step
        self._last_time, self._last_step = moment, step
        return None if elapsed <= 0 or steps != 1 else round(self.units_per_step / elapsed, 1)

    def _note(self, record: Mapping[str, Any]) -> None:
        # What is recorded after the last step, such as its validation, belongs to that step.
        self._latest["step"] = min(record["step"] + 1, self._max_steps)
        for key, value in record.items():
            if isinstance(value, float | int) and key != "step":
                self._latest[f"{record['split']} {key}"] = value
        for currency, value in (record.get("expected_cost") or {}).items():
            self._latest[f"expected {currency}"] = value

    def _show(self) -> None:
        if not self._latest or not self.accelerator.is_main_process:
            return
        step = int(self._latest["step"])
        description = self._describe()
        self._bar.update(self._task, completed=step, description=description)
        now = time.monotonic()
        due = now - self._last_line > PLAIN_LINE_EVERY or step == self._max_steps
        if not self.console.is_terminal and due and step != self._shown:
            self._last_line, self._shown = now, step
            self.message(f"step {step}/{self._max_steps}  {description}{self._time_left(step, now)}")
        self._first = self._first or (step, now)

    def _time_left(self, step: int, now: float) -> str:
        """What the steps that are left take at the pace so far."""
        if self._first is None or not self._first[0] < step < self._max_steps:
            return ""
        seconds = (now - self._first[1]) / (step - self._first[0]) * (self._max_steps - step)
        return f"  {timedelta(seconds=round(seconds))} left"

    def _describe(self) -> str:
        latest = self._latest
        parts = [f"loss {latest['weight loss']:.3f}"] if latest.get("weight loss") is not None else []
        throughput = latest.get(f"weight {self.unit}_per_second")
        if throughput:
            parts.append(f"{throughput:,.0f} {self.unit}/s")
        parts += [f"{key} {amount(value)}" for key, value in latest.items() if key.startswith("expected ")]
        if self._likeliest:
            parts.append(f"likeliest: {self._likeliest}")
        return "  ".join(parts)


def _plain(value: Any) -> Any:
    """JSON values of tensors; what is not finite becomes null, for JSON has no word for it."""
    if isinstance(value, Tensor):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value
