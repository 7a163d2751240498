"""What a training starts from: a model's folder, or an architecture's JSON file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from knotwork_export import Provenance
from knotwork_ops import Architecture, read_mapping
from knotwork_search import RunFolder
from knotwork_spaces import family, space_from_dict
from torch import nn

from knotwork_tasks._saved import SavedRun, read_record, read_text
from knotwork_tasks.training._flags import INHERIT


@dataclass(frozen=True)
class ModelFolder:
    """A folder that transformers or timm loads, exported or not.

    Attributes:
        path: of the folder.
    """

    path: Path

    @property
    def provenance(self) -> Provenance:
        """Nothing: what is known of the model stands in its card."""
        return Provenance({})

    @property
    def card(self) -> str:
        """The model's card; a title where the folder has none."""
        file = self.path / "README.md"
        return read_text(file) if file.exists() else f"# {self.path.name}\n\nA model that was trained with Knotwork.\n"


@dataclass(frozen=True)
class ArchitectureFile:
    """An architecture of a search space, as ``architecture.json`` of a run tells it.

    Attributes:
        path: of the file.
        space: the search space.
        architecture: of that space.
        record: what else the file says.
    """

    path: Path
    space: Any
    architecture: Architecture
    record: dict[str, Any]

    @property
    def run(self) -> RunFolder:
        """The run's folder, if the file lies in one."""
        return RunFolder(self.path.parent)

    def model(self, init: str) -> nn.Module:
        """The plain upstream model, with the supernet's weights or freshly drawn ones.

        Raises:
            ValueError: weights are to be inherited, but no trained supernet of this space lies beside the file.
        """
        if init != INHERIT:
            return family(self.space.family).plain_model(self.space, self.architecture)
        try:
            saved = SavedRun(self.path.parent)
            if saved.space.as_dict() != self.space.as_dict():
                raise ValueError("space.json there is another search space")
            return saved.supernet.extract(self.architecture)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"--init inherit takes the weights of the supernet whose run {self.path} lies in, but there is none: {error}. "
                "Name a model's folder, such as RUN/model, or give --init scratch"
            ) from error

    @property
    def provenance(self) -> Provenance:
        """How the architecture was found, as far as the file and its run tell."""
        config = self.run.read_config() if self.run.config.exists() else {}
        return Provenance(
            architecture=self.architecture.as_dict(),
            cost=self.record.get("cost") or {},
            strategy=str(self.record.get("strategy") or ""),
            dataset=str(config.get("dataset") or ""),
            settings=config,
            versions=self.record.get("versions") or {},
        )

    @property
    def card(self) -> None:
        """None yet."""


Start = ModelFolder | ArchitectureFile


def read_start(model: str) -> Start:
    """What ``--model`` names.

    Raises:
        ValueError: it is neither a model's folder nor a file with an architecture and its space.
    """
    path = Path(os.path.expanduser(model))
    if path.is_dir():
        return ModelFolder(require_model_folder(path, "--model"))
    if not path.is_file():
        raise ValueError(f"--model {model}: there is no such folder or file")
    record = read_record(path)
    values = record.get("architecture", {name: value for name, value in record.items() if name != "space"})
    space: Any = space_from_dict(record["space"]) if "space" in record else _space_beside(path)
    return ArchitectureFile(path, space, space.architecture(values), record)


def require_model_folder(path: Path, flag: str) -> Path:
    """The folder itself, when it holds a model's configuration.

    Raises:
        ValueError: it does not.
    """
    if (path / "config.json").is_file():
        return path
    if RunFolder(path).config.exists():
        raise ValueError(f"{flag} {path} is a run's folder: name the model in it, {path / 'model'}")
    raise ValueError(f"{flag} {path} holds no model: it has no config.json")


def _space_beside(path: Path) -> Any:
    file = RunFolder(path.parent).space
    if not file.exists():
        raise ValueError(
            f"{path} names no search space: give the architecture.json of a run, or lay the file into the run's folder"
        )
    return space_from_dict(read_mapping(file))
