"""A run's folder, read again: its space, its trained supernet, what it found."""

from __future__ import annotations

import reprlib
import sys
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from knotwork_ops import Architecture, read_mapping
from knotwork_search import RunFolder, load_checkpoint
from knotwork_spaces import check_finite, space_from_dict

from knotwork_tasks._parsing import check_settings
from knotwork_tasks._supernet import built
from knotwork_tasks._task import Packaging, Task, task_kind


class SavedRun:
    """What a finished or interrupted run left behind, read when it is asked for.

    Args:
        path: the run's folder.

    Raises:
        ValueError: a file that is missing, damaged, or of another space; from the property that reads it.
    """

    def __init__(self, path: Path | str) -> None:
        self.folder = RunFolder(path)

    @cached_property
    def config(self) -> dict[str, Any]:
        """The settings that the run was started with."""
        return self.folder.read_config()

    @cached_property
    def record(self) -> dict[str, Any]:
        """``architecture.json``; empty while the search is not finished."""
        return read_record(self.folder.architecture) if self.folder.architecture.exists() else {}

    @property
    def metrics(self) -> dict[str, float]:
        """What the architecture that the search found reaches on the validation data; empty where the record does not say."""
        rows = self.record.get("comparison") or [{}]
        return rows[0].get("metrics") or {}

    @cached_property
    def space(self) -> Any:
        """The search space."""
        return space_from_dict(read_mapping(self.folder.space))

    @cached_property
    def supernet(self) -> Any:
        """The supernet in eval mode, with the weights of the newest readable checkpoint."""
        tensors, _ = load_checkpoint(self.folder.checkpoints, lambda message: print(message, file=sys.stderr))
        stored = sum(tensor.numel() for name, tensor in tensors.items() if name.startswith("supernet."))
        with torch.device("meta"):
            described = sum(weight.numel() for weight in built(self.space, rank=self.config.get("lora_rank")).parameters())
        if stored != described:
            raise ValueError(
                f"the checkpoint in {self.folder.checkpoints} has {stored:,} weights, but the supernet of {self.folder.space} "
                f"{described:,}: it is of another space"
            )
        supernet = built(self.space, rank=self.config.get("lora_rank")).eval()
        with torch.no_grad():
            for name, parameter in supernet.named_parameters():
                tensor = tensors.get(f"supernet.{name}")
                if tensor is None or tensor.shape != parameter.shape:
                    raise ValueError(
                        f"the checkpoint in {self.folder.checkpoints} has no fitting {name}: it is of another space"
                    )
                parameter.copy_(tensor)
        check_finite(dict(supernet.named_parameters()), self.folder.checkpoints)
        return supernet

    @property
    def packaging(self) -> Packaging:
        """What leaves with this run's models."""
        return task_kind(self.space.family).load_packaging(self.folder)

    def task(self, accelerator: Accelerator) -> Task:
        """The run's task, with its data and an untrained supernet."""
        kind = task_kind(self.space.family)
        check_settings(self.config, kind.flags, self.folder.config)
        flags = kind.flags(**self.config, output_dir=str(self.folder.path), resume=True, push_to_hub=None)
        return kind.prepare(flags, self.folder, accelerator)

    @property
    def found(self) -> Architecture:
        """The architecture that the search found."""
        if not self.record:
            raise ValueError(f"{self.folder.path} has found no architecture yet: name one with --architecture FILE.json")
        return self.space.architecture(self.record.get("architecture", {}))

    def point(self, number: int) -> Architecture:
        """An architecture of the run's front, counted from 1 as in ``front.csv``.

        Raises:
            ValueError: a run without a front, or a number that it does not have.
        """
        front = self.record.get("front")
        points = front.get("points") if isinstance(front, dict) else None
        if not isinstance(points, list) or not points:
            raise ValueError(f"{self.folder.path} has no front: search with --pareto params,loss")
        if not 1 <= number <= len(points):
            raise ValueError(f"--point {number}: the front of {self.folder.path} has the points 1 to {len(points)}")
        entry = points[number - 1]
        return self.space.architecture(entry.get("architecture", {}) if isinstance(entry, dict) else {})

    def architecture(self, file: Path | str) -> Architecture:
        """An architecture of the run's space from a JSON file."""
        return self.space.architecture(read_mapping(file))


_RECORD: dict[str, tuple[Callable[[Any], bool], str]] = {
    "architecture": (lambda value: isinstance(value, dict), "a mapping of options"),
    "space": (lambda value: isinstance(value, dict), "a mapping of choices and settings"),
    "strategy": (lambda value: isinstance(value, str), "a name"),
    "cost": (lambda value: _are_numbers(value), "a mapping of numbers"),
    "search_flops": (lambda value: isinstance(value, int | float), "a number"),
    "versions": (lambda value: isinstance(value, dict), "a mapping of versions"),
    "comparison": (
        lambda value: (
            isinstance(value, list) and all(isinstance(row, dict) and _are_numbers(row.get("metrics")) for row in value)
        ),
        "a list of mappings with metrics",
    ),
}
"""What ``architecture.json`` may say, beside what is told on as it is."""


def read_record(path: Path) -> dict[str, Any]:
    """What ``architecture.json`` says. Raises ValueError when it is damaged; what is missing or null is not looked at."""
    record = read_mapping(path)
    for name, (fits, wanted) in _RECORD.items():
        if record.get(name) is not None and not fits(record[name]):
            raise ValueError(f"{path} has {name} {reprlib.repr(record[name])}: it must be {wanted}")
    return record


def _are_numbers(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(n, int | float) for n in value.values())


def read_text(path: Path) -> str:
    """A text file's content. Raises ValueError when it is not text, OSError when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text file: {error}") from error
