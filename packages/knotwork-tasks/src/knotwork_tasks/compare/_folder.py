"""The folder of a comparison: its settings, and a file of JSON for each finished cell."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from knotwork_ops import read_mapping
from knotwork_search import Interruption, RunInterrupted, write_atomically

from knotwork_tasks.compare._processes import CellProcesses

Cell = dict[str, Any]
ADVICE = "the same command goes on where it was"
_TELLS = {"search": "memory", "train": "loss", "inherit": "losses"}
"""By the kind of a cell, the number or numbers that its result always has."""


class CompareFolder:
    """Runs cells, and keeps their results.

    Args:
        path: the folder; made when it is not there.
        settings: what the results depend on.

    Raises:
        ValueError: a folder of other settings, or one that holds something else.
    """

    def __init__(self, path: Path | str, settings: Mapping[str, Any]) -> None:
        self.path = Path(path)
        file = self.path / "settings.json"
        wanted = json.loads(json.dumps(dict(settings)))
        if file.exists():
            for name, value in read_mapping(file).items():
                if wanted.get(name) != value:
                    raise ValueError(
                        f"{self.path} holds a comparison with {name} {value!r}, not {wanted.get(name)!r}: give the same, or "
                        "another output folder"
                    )
        elif self.path.exists() and (not self.path.is_dir() or any(_kept(self.path))):
            raise ValueError(f"{self.path} exists and holds no comparison: give another output folder")
        self.path.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json.dumps(wanted, indent=2) + "\n")

    def run(self, cells: Iterable[Cell], processes: int, notify: Callable[[str], None]) -> None:
        """Run the cells whose result is not there yet: searches each in a process of its own, others dealt out.

        Raises:
            ValueError: a cell fails; the message ends with what it said. Those that are running finish first.
            RunInterrupted: asked to stop; those that were running have ended, searches with a checkpoint.
        """
        missing = [cell for cell in cells if not Path(cell["result"]).exists()]
        searches = [[cell] for cell in missing if cell["kind"] == "search"]
        others = [cell for cell in missing if cell["kind"] != "search"]
        shares = [share for number in range(processes) if (share := others[number::processes])]

        def one(share: list[Cell]) -> None:
            code, said = started.compute(share)
            unfinished = [_name(cell) for cell in share if not Path(cell["result"]).exists()]
            if finished := [_name(cell) for cell in share if _name(cell) not in unfinished]:
                notify(f"done: {', '.join(finished)}")
            if code != 0 or unfinished:
                raise ValueError(f"the cell {next(iter(unfinished), '')} failed: {' '.join(said.split())[-600:]}")

        with Interruption(advice=ADVICE), CellProcesses(processes) as started, ThreadPoolExecutor(processes) as pool:
            try:
                futures = [pool.submit(one, share) for share in [*searches, *shares]]
                for future in futures:
                    future.result()
            except BaseException as error:
                pool.shutdown(wait=False, cancel_futures=True)
                if isinstance(error, RunInterrupted):
                    started.stop()
                    notify("stopping: the searches that run save a checkpoint; interrupt again to end at once")
                raise


def _kept(folder: Path) -> list[Path]:
    """What a folder holds but for what a kill left of a file that was being written."""
    return [path for path in folder.iterdir() if path.suffix != ".partial"]


def _name(cell: Cell) -> str:
    return Path(cell["result"]).stem


def result_of(cell: Cell) -> dict[str, Any]:
    """A finished cell's result. Raises ValueError when its file is damaged."""
    result = read_mapping(cell["result"])
    value = result.get(_TELLS[cell["kind"]])
    numbers = value if isinstance(value, list) else [value]
    if not all(isinstance(number, int | float) for number in numbers):
        raise ValueError(f"{cell['result']} is damaged: remove it, and its cell is run again")
    return result
