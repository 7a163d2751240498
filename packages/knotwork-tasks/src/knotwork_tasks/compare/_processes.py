"""The processes that compute cells; none outlives the comparison."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from subprocess import DEVNULL, PIPE, Popen
from typing import Any

COMMAND = (sys.executable, "-m", "knotwork_tasks.compare._cells")


class CellProcesses:
    """Starts processes for cells, and stops them.

    All read from one pipe, to which this process alone holds the other end and writes nothing: however it ends, even killed,
    they read the pipe's end, and end too. Else they would write into the folders of those that a second comparison starts.

    Args:
        at_a_time: how many share the cores.
    """

    def __init__(self, at_a_time: int) -> None:
        threads = str(max(1, (os.cpu_count() or 1) // at_a_time))
        self._environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        self._input, self._held = os.pipe()
        self._started: list[Popen[str]] = []
        self._stopped = False

    def __enter__(self) -> CellProcesses:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._held)
        os.close(self._input)

    def compute(self, cells: Sequence[Mapping[str, Any]]) -> tuple[int, str]:
        """Compute cells in one process. Returns its exit code, and what it said on standard error."""
        streams: dict[str, Any] = {"stdin": self._input, "stdout": DEVNULL, "stderr": PIPE, "text": True}
        # In a session of its own: a terminal's interrupt would reach it beside `stop`, and a second one ends a search at once.
        with Popen([*COMMAND, json.dumps(cells)], env=self._environment, start_new_session=True, **streams) as process:
            self._started.append(process)
            if self._stopped:
                process.terminate()
            _, said = process.communicate()
        return process.returncode, said

    def stop(self) -> None:
        """Ask every process to end, also one that is being started: a search saves a checkpoint first."""
        self._stopped = True
        for process in self._started:
            process.terminate()
