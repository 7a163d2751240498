"""What a run folder holds, read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from knotwork_ops import parse_mapping, read_mapping

from knotwork_search._run import read_settings
from knotwork_search.report._values import mapping, number, numbers


@dataclass(frozen=True)
class Run:
    """The files of one run, a search or the training of one net.

    Attributes:
        name: what the page calls it.
        config: config.yaml.
        metrics: the lines of metrics.jsonl.
        outcome: architecture.json; None while the search is in progress, and for a training.
        training: training.json; None for a search, and while the training is in progress.
        space: the search space, known from the start of a search on.
    """

    name: str
    config: dict[str, Any]
    metrics: list[dict[str, Any]]
    outcome: dict[str, Any] | None
    training: dict[str, Any] | None
    space: dict[str, Any]

    @property
    def is_training(self) -> bool:
        """Whether one net was trained rather than an architecture searched for."""
        return self.training is not None or (self.outcome is None and "init" in self.config and "strategy" not in self.config)

    @property
    def result(self) -> dict[str, Any]:
        """What was written at the end; empty while the run is in progress."""
        return self.outcome or self.training or {}

    @property
    def architecture(self) -> dict[str, Any]:
        """What the search found, an option for each choice; empty where there is nothing yet."""
        return mapping(mapping(self.outcome).get("architecture"))

    @property
    def last_step(self) -> float | None:
        """The last step that was logged."""
        return max((step for step in (number(record.get("step")) for record in self.metrics) if step is not None), default=None)

    @property
    def planned_steps(self) -> float | None:
        """How many steps the settings ask for."""
        return number(self.config.get("steps" if self.is_training else "max_steps"))

    def budget(self) -> dict[str, float]:
        """The limit of each cost; before the outcome is written, from settings such as `max_params`."""
        if self.outcome is not None:
            return numbers(self.outcome.get("budget"))
        limits = numbers(self.config)
        return {name.removeprefix("max_"): limit for name, limit in limits.items() if name in BUDGET_SETTINGS}


BUDGET_SETTINGS = ("max_params", "max_flops", "max_latency_ms")
RUN_FILES = ("config.yaml", "metrics.jsonl", "architecture.json")


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The lines of `run/metrics.jsonl` in the order written; none if the file is not there yet.

    A last line without its newline that does not parse is what a killed run leaves, and is ignored.

    Raises:
        ValueError: another line is not a JSON object; the message names its number.
    """
    path = Path(run) / "metrics.jsonl"
    if not path.exists():
        return []
    records: list[dict[str, Any]] = []
    with path.open("rb") as lines:
        for count, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                records.append(parse_mapping(line, f"{path}, line {count}"))
            except ValueError as error:
                if not line.endswith(b"\n"):
                    break
                raise ValueError(f"{error}: {line[:80]!r}. Remove or mend that line.") from error
    return records


def read_run(run: Path) -> Run:
    """Read the folder `run`.

    Raises:
        FileNotFoundError: `run` is not a folder.
        ValueError: the folder holds none of a run's files, or one of them is broken.
    """
    run = Path(run)
    if not run.is_dir():
        raise FileNotFoundError(f"{run} is not a folder. Give the folder that the search wrote.")
    if not any((run / name).exists() for name in RUN_FILES):
        raise ValueError(f"{run} holds none of {', '.join(RUN_FILES)}. Give the folder that the search wrote.")
    outcome = _read_object(run / "architecture.json")
    return Run(
        name=run.resolve().name,
        config=_read_config(run / "config.yaml"),
        metrics=read_metrics(run),
        outcome=outcome,
        training=_read_object(run / "training.json"),
        space=mapping(mapping(outcome).get("space")) or _read_object(run / "space.json") or {},
    )


def _read_config(path: Path) -> dict[str, Any]:
    return read_settings(path) if path.exists() else {}


def _read_object(path: Path) -> dict[str, Any] | None:
    return read_mapping(path) if path.exists() else None
