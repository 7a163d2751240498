"""Latency tables on disk: one for each space, device and set of versions, built when it is first asked for."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from knotwork_ops import read_mapping

from knotwork_search._files import write_atomically
from knotwork_search._protocols import TimedSupernet
from knotwork_search.latency._check import measured_table
from knotwork_search.latency._clock import Clock, device_name
from knotwork_search.latency._table import LatencyTable

METHOD = 1
"""Raised when timings are taken in another way, so that tables of the old one are not used."""
WORST_ERROR = 0.15
"""A median error of predictions above it is warned of."""


def cached_table(
    supernet: TimedSupernet,
    device: torch.device,
    versions: Mapping[str, str],
    notify: Callable[[str], None] = lambda message: None,
    *,
    clock: Clock | None = None,
) -> LatencyTable:
    """The latency table of a supernet on a device: from the cache, or built, checked and cached.

    Args:
        supernet: whose models are timed.
        device: to time on.
        versions: of what the models run on; timings of others are not used.
        notify: is told what is done, in lines.
        clock: that tells the device's time; its own when None.
    """
    key = _key(supernet, device, versions)
    path = cache_folder() / f"{hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]}.json"
    where = key["device"]
    if path.exists():
        try:
            table = LatencyTable.from_dict(supernet.space, read_mapping(path).get("table", {}))
        except (OSError, ValueError) as error:
            notify(f"{path} is damaged and is built anew: {error}")
        else:
            notify(f"latencies of {where} as measured before, {_error_line(table.median_error)}: {path}")
            return table
    notify(f"timing the blocks of this space on {where}: a batch of one at full size, without gradients")
    started = time.monotonic()
    table = measured_table(supernet, device, clock=clock)
    notify(f"latencies of {where} measured in {time.monotonic() - started:.0f} s, {_error_line(table.median_error)}")
    if table.median_error is not None and table.median_error > WORST_ERROR:
        notify(f"warning: that is over {WORST_ERROR:.0%}; is something else running? Delete {path} to measure again")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps({**key, "table": table.as_dict()}) + "\n")
    except OSError as error:
        notify(f"the latencies are not kept for the next search: {error}")
    return table


def cache_folder() -> Path:
    """Where tables lie: ``knotwork/latency`` in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "knotwork" / "latency"


def _key(supernet: TimedSupernet, device: torch.device, versions: Mapping[str, str]) -> dict[str, Any]:
    return {
        "method": METHOD,
        "space": supernet.space.as_dict(),
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "versions": dict(versions),
    }


def _error_line(error: float | None) -> str:
    if error is None:
        return "unchecked because every architecture of the space was used"
    return f"median error of predictions {error:.1%} on held-out architectures"
