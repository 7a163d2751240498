"""The folder of a comparison: its settings, and a file of JSON for each finished cell."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import run as run_process
from typing import Any

from knotwork_ops import read_mapping
from knotwork_search import write_atomically

Cell = dict[str, Any]
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
        elif self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise ValueError(f"{self.path} exists and holds no comparison: give another output folder")
        self.path.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json.dumps(wanted, indent=2) + "\n")

    def run(self, cells: Iterable[Cell], processes: int, notify: Callable[[str], None]) -> None:
        """Run the cells whose result is not there yet: searches each in a process of its own, others dealt out.

        Raises:
            ValueError: a cell fails; the message ends with what it said. Those that are running finish first.
        """
        missing = [cell for cell in cells if not Path(cell["result"]).exists()]
        searches = [[cell] for cell in missing if cell["kind"] == "search"]
        others = [cell for cell in missing if cell["kind"] != "search"]
        shares = [share for number in range(processes) if (share := others[number::processes])]
        threads = str(max(1, (os.cpu_count() or 1) // processes))
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}

        def one(share: list[Cell]) -> None:
            command = [sys.executable, "-m", "knotwork_tasks.compare._cells", json.dumps(share)]
            done = run_process(command, env=environment, capture_output=True, text=True, check=False)
            names = [Path(cell["result"]).stem for cell in share if Path(cell["result"]).exists()]
            notify(f"done: {', '.join(names) or 'nothing'}")
            if done.returncode != 0 or len(names) < len(share):
                failed = next((Path(c["result"]).stem for c in share if not Path(c["result"]).exists()), "")
                raise ValueError(f"the cell {failed} failed: {' '.join(done.stderr.split())[-600:]}")

        with ThreadPoolExecutor(processes) as pool:
            futures = [pool.submit(one, share) for share in [*searches, *shares]]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                for future in futures:
                    future.cancel()
                raise


def result_of(cell: Cell) -> dict[str, Any]:
    """A finished cell's result. Raises ValueError when its file is damaged."""
    result = read_mapping(cell["result"])
    value = result.get(_TELLS[cell["kind"]])
    numbers = value if isinstance(value, list) else [value]
    if not all(isinstance(number, int | float) for number in numbers):
        raise ValueError(f"{cell['result']} is damaged: remove it, and its cell is run again")
    return result
