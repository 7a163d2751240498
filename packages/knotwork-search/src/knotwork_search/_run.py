"""A run's folder (design.md, section 5)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from knotwork_ops import read_mapping

from knotwork_search._files import write_atomically

MOST_BYTES = 2**20
"""Of a file of settings; PyYAML reads about that much in a second."""


class RunFolder:
    """The files of one run. Nothing is created before ``create`` or ``resume``.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.config = self.path / "config.yaml"
        self.metrics = self.path / "metrics.jsonl"
        self.checkpoints = self.path / "checkpoints"
        self.front = self.path / "front.csv"
        self.study = self.path / "study.db"
        self.space = self.path / "space.json"
        self.architecture = self.path / "architecture.json"
        self.training = self.path / "training.json"
        self.model = self.path / "model"
        self.tokenizer = self.path / "tokenizer"
        self.report = self.path / "report.html"
        self._begun = self.path / ".begun"

    def check_free(self) -> None:
        """Raise ValueError when the folder holds a run already, or anything else but what a kill left of one's beginning."""
        if self.config.exists():
            raise ValueError(f"{self.path} already holds a run: give --resume to go on with it, or another output folder")
        if self._begun.exists():
            return
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise ValueError(f"{self.path} exists and is not an empty folder: give another output folder")

    def check_resumable(self) -> None:
        """Raise ValueError when the folder holds no run."""
        if not self.config.exists():
            raise ValueError(f"{self.path} holds no run to resume: it has no config.yaml")

    @contextmanager
    def create(self, config: Mapping[str, Any], space: Mapping[str, Any] | None = None) -> Iterator[None]:
        """Make the folder and write its configuration and, of a search, its space.

        The ``with`` block writes what else a run begins with, its first checkpoint above all. The configuration comes after it,
        and makes the folder a run's: one that is killed before is begun anew, one that is killed after can be resumed.
        """
        for left in list(self.path.iterdir()) if self._begun.exists() else []:
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left)
            else:
                left.unlink()
        self.path.mkdir(parents=True, exist_ok=True)
        self._begun.touch()
        if space is not None:
            write_atomically(self.space, json.dumps(dict(space), indent=2) + "\n")
        yield
        write_atomically(self.config, yaml.safe_dump(dict(config), sort_keys=False))
        self._begun.unlink()

    def read_config(self) -> dict[str, Any]:
        """The settings the run was started with.

        Raises:
            ValueError: a file that is missing or not a YAML mapping.
            OSError: it cannot be read.
        """
        self.check_resumable()
        return read_settings(self.config)

    def write_architecture(self, record: Mapping[str, Any]) -> None:
        """Write what was found, with all that is needed to read it."""
        write_atomically(self.architecture, json.dumps(dict(record), indent=2) + "\n")


def read_settings(path: Path | str) -> dict[str, Any]:
    """The settings in a YAML file.

    Raises:
        ValueError: it is no mapping of names to plain values.
        OSError: it cannot be read.
    """
    return read_mapping(path, yaml.safe_load, MOST_BYTES)
