"""The accelerator that an app runs on, as its flags say."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from typing import Any, Protocol

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import set_seed
from knotwork_search import RunFolder

STARTED = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE", "PMI_SIZE")
"""Where launchers tell how many processes they have started."""


class AcceleratorFlags(Protocol):
    """The flags of an app that runs on an accelerator."""

    @property
    def mixed_precision(self) -> str: ...

    @property
    def report_to(self) -> str: ...

    @property
    def seed(self) -> int: ...

    @property
    def deterministic(self) -> bool: ...

    def as_config(self) -> dict[str, Any]: ...


def open_accelerator(flags: AcceleratorFlags, run: RunFolder) -> Accelerator:
    """Devices, precision and the seed of everything.

    Raises:
        ValueError: a tracker that is not installed, fp16 on a CPU, or several processes were asked for and did not come to be.
    """
    tracker = None if flags.report_to == "none" else flags.report_to
    if tracker and find_spec(tracker) is None:
        raise ValueError(f"--report-to {tracker} needs the package {tracker}, which is not installed")
    if flags.mixed_precision == "fp16" and str(PartialState().device) == "cpu":
        # Accelerate would run it in float32 without a word.
        raise ValueError("--mixed-precision fp16 needs a GPU, and this runs on a CPU: use bf16 or no")
    if flags.deterministic:
        # Products on CUDA are deterministic with a fixed workspace, which is read when CUDA starts.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    accelerator = Accelerator(mixed_precision=flags.mixed_precision, log_with=tracker, project_dir=str(run.path))
    # What accelerate's launcher leaves in the environment when it was asked for several.
    launched = "ACCELERATE_MIXED_PRECISION" in os.environ and "MASTER_PORT" in os.environ
    if accelerator.num_processes == 1 and launched and "WORLD_SIZE" not in os.environ:
        raise ValueError(
            "accelerate launch was asked for several processes, but on CPUs it starts them through MPI alone "
            "(--mpirun_hostfile): start them with torchrun --nproc-per-node N, and ACCELERATE_USE_CPU=true"
        )
    if accelerator.num_processes == 1 and any(os.environ.get(name, "1") != "1" for name in STARTED):
        raise ValueError(
            "several processes were started, but found no GPUs to run on together, and each would run alone: "
            "on CPUs set ACCELERATE_USE_CPU=true for all of them"
        )
    set_seed(flags.seed)
    torch.use_deterministic_algorithms(flags.deterministic)
    return accelerator


def start_trackers(flags: AcceleratorFlags, accelerator: Accelerator) -> None:
    """Open the tracker that ``--report-to`` names, once the run's folder is there."""
    if flags.report_to != "none":
        given = {name: value for name, value in flags.as_config().items() if value is not None}
        # TensorBoard takes single values alone.
        config = {name: v if isinstance(v, int | float | str) else json.dumps(v) for name, v in given.items()}
        accelerator.init_trackers("knotwork", config=config, init_kwargs={"wandb": {"dir": accelerator.logging_dir}})
