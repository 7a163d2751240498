"""One of two processes that search together. ``python -m tests.knotwork_search.rank FOLDER WHAT ...``.

What: a strategy, or ``sharded STRATEGY``, which is also resumed. Each process has a folder of its own, so that one that writes
what it should not is seen.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import torch
from accelerate import Accelerator

from .traced import STEPS, Trace, traced


def main(folder: Path, whats: list[str]) -> None:
    rank = int(os.environ["RANK"])
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{folder / 'meeting'}", rank=rank, world_size=2)
    accelerator = Accelerator(cpu=True)
    traces: dict[str, Trace] = {}
    for what in whats:
        sharded, name = what.startswith("sharded "), what.split()[-1]
        traces[what] = traced(name, accelerator, folder / f"rank {rank}" / what, sharded=sharded)
        if sharded:
            traces[f"resumed {what}"] = resumed(name, accelerator, folder / "rank 0" / what)
    (folder / f"{rank}.json").write_text(json.dumps(traces))
    accelerator.end_training()


def resumed(name: str, accelerator: Accelerator, finished: Path) -> Trace:
    """The second half of a search that was finished, once more."""
    again = finished.with_name(f"{finished.name} again")
    if accelerator.is_main_process:
        shutil.copytree(finished, again)
        shutil.rmtree(again / "checkpoints" / f"step-{STEPS:08d}")
        (again / "study.db").unlink(missing_ok=True)
    accelerator.wait_for_everyone()
    return traced(name, accelerator, again, sharded=True, resumes=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
