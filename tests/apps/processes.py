"""Apps as real processes that start in no time: forked from a server that has imported everything."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

from .conftest import APPS

HERE = Path(__file__).parent
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["unverified"])
ENVIRONMENT = {"PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


def start(app: str, arguments: Sequence[str], log: Path) -> Any:
    """An app's process, started; what it prints is added to a file."""
    argv = ["forked.py", str(APPS / app), str(log), *arguments]
    with patch.dict(os.environ, ENVIRONMENT), patch.object(sys, "argv", argv):
        # A daemon, so that one which a failed test leaves behind ends with the tests.
        options: Any = {"args": (str(HERE / "forked.py"),), "kwargs": {"run_name": "__main__"}, "daemon": True}
        process = CONTEXT.Process(target=runpy.run_path, **options)
        process.start()
    return process
