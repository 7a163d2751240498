"""The accelerator that an app runs on, as its flags say."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Protocol

from accelerate import Accelerator
from knotwork_search import RunFolder


class AcceleratorFlags(Protocol):
    """The flags of an app that runs on an accelerator."""

    @property
    def mixed_precision(self) -> str: ...

    @property
    def report_to(self) -> str: ...

    def as_config(self) -> dict[str, Any]: ...


def open_accelerator(flags: AcceleratorFlags, run: RunFolder) -> Accelerator:
    """Devices, precision and trackers.

    Raises:
        ValueError: a tracker that is not installed.
    """
    trackers = None if flags.report_to == "none" else flags.report_to
    if trackers and find_spec(trackers) is None:
        raise ValueError(f"--report-to {trackers} needs the package {trackers}, which is not installed")
    accelerator = Accelerator(mixed_precision=flags.mixed_precision, log_with=trackers, project_dir=str(run.path))
    if trackers:
        accelerator.init_trackers("knotwork", config={k: v for k, v in flags.as_config().items() if v is not None})
    return accelerator
