"""One of two processes that search together. ``python -m tests.knotwork_search.rank FOLDER STRATEGY ...``.

Each has a folder of its own, so that what a process writes that should not is seen.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch
from accelerate import Accelerator

from .traced import traced


def main(folder: Path, names: list[str]) -> None:
    rank = int(os.environ["RANK"])
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{folder / 'meeting'}", rank=rank, world_size=2)
    accelerator = Accelerator(cpu=True)
    traces = {name: traced(name, accelerator, folder / f"rank {rank}" / name) for name in names}
    (folder / f"{rank}.json").write_text(json.dumps(traces))
    accelerator.end_training()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
