"""Checkpoints: safetensors and JSON, written whole or not at all, the last two kept. What no step changes is written once."""

from __future__ import annotations

import hashlib
import json
import os
import reprlib
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from knotwork_ops import read_mapping
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from knotwork_search._files import sync_folder, write_atomically
from knotwork_search._sharding import placed_like

KEPT = 2
FROZEN = "frozen.safetensors"
TENSORS = "tensors.safetensors"


def save_checkpoint(
    folder: Path, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any], frozen: Mapping[str, Tensor] | None = None
) -> Path:
    """Write ``step-NNNNNNNN`` into the folder and drop all but the last two.

    Args:
        folder: the run's ``checkpoints`` folder.
        step: the steps done.
        tensors: named tensors; none may share memory.
        state: JSON values.
        frozen: named tensors that are the same at every step: the first checkpoint writes them beside itself, for all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if frozen and not (folder / FROZEN).exists():
        _write(frozen, folder / f".partial-{FROZEN}")
        (folder / f".partial-{FROZEN}").rename(folder / FROZEN)
    target, partial = folder / f"step-{step:08d}", folder / f".partial-{step:08d}"
    for stale in (partial, target):
        shutil.rmtree(stale, ignore_errors=True)
    partial.mkdir()
    _write(tensors, partial / TENSORS)
    stamped = {**state, "digest": _digest(partial / TENSORS)}
    write_atomically(partial / "state.json", json.dumps(stamped, indent=1))
    partial.rename(target)
    sync_folder(folder)
    for old in checkpoints(folder)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def _write(tensors: Mapping[str, Tensor], path: Path) -> None:
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)
    with path.open("rb") as file:
        os.fsync(file.fileno())


def checkpoints(folder: Path) -> list[Path]:
    """The finished checkpoints of a folder, oldest first."""
    return sorted(path for path in folder.glob("step-*") if path.is_dir())


def load_checkpoint(
    folder: Path, notify: Callable[[str], None] = lambda message: None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The newest checkpoint that can be read: its tensors, those frozen among them, and its state.

    Args:
        folder: the run's ``checkpoints`` folder.
        notify: told which newer ones cannot be read, and why.

    Raises:
        ValueError: there is none, or the frozen tensors cannot be read; the message names what is broken.
    """
    try:
        frozen = load_file(folder / FROZEN) if (folder / FROZEN).exists() else {}
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{folder / FROZEN}, which all checkpoints beside it need, cannot be read: {error}") from error
    broken = []
    for path in reversed(checkpoints(folder)):
        try:
            tensors, state = _read(path)
        except (OSError, ValueError, RecursionError, SafetensorError) as error:
            broken.append(f"{path.name} ({error})")
            continue
        if broken:
            notify(f"cannot be read: {'; '.join(broken)}; the checkpoint before, {path.name}, is used")
        return frozen | tensors, state
    reason = f": these cannot be read: {'; '.join(broken)}" if broken else ""
    raise ValueError(f"no checkpoint to resume from in {folder}{reason}")


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    state = _read_state(path / "state.json")
    if state.pop("digest", None) != _digest(path / TENSORS):
        raise ValueError(f"{TENSORS} is not what state.json was written for")
    return load_file(path / TENSORS), state


def _digest(path: Path) -> str:
    """Safetensors notices a file that is cut short, but not one whose numbers have changed."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def _read_state(path: Path) -> dict[str, Any]:
    """The state beside the tensors, with what every resumer asks for. Raises ValueError for values of other types."""
    state = {"multipliers": {}, "scaler": None, "flops": 0.0, "skipped": 0, **read_mapping(path)}
    step, multipliers = state.get("step"), state["multipliers"]
    if isinstance(step, bool) or not isinstance(step, int) or step < 0:
        raise ValueError(f"{path.name} has step {reprlib.repr(step)}, which is no number of steps")
    numbers = [state["flops"], state["skipped"], *(multipliers.values() if isinstance(multipliers, dict) else [None])]
    if not all(isinstance(number, int | float) for number in numbers):
        raise ValueError(f"{path.name} has multipliers, flops or skipped steps that are not numbers: {reprlib.repr(numbers)}")
    return state


def optimiser_tensors(prefix: str, optimiser: Any) -> dict[str, Tensor]:
    """An optimiser's state by parameter number, as named tensors."""
    state = optimiser.state_dict()["state"]
    return {
        f"{prefix}.{number}.{name}": torch.as_tensor(value)
        for number, values in state.items()
        for name, value in values.items()
    }


def load_optimiser(prefix: str, optimiser: Any, tensors: Mapping[str, Tensor]) -> None:
    """Put back what ``optimiser_tensors`` took; the groups' settings stay the optimiser's own.

    Raises:
        ValueError: tensors of another optimiser or of other parameters; the message names one.
    """
    states: dict[int, dict[str, Tensor]] = {}
    parameters = {str(at): p for at, p in enumerate(p for group in optimiser.param_groups for p in group["params"])}
    for name, tensor in tensors.items():
        if name.startswith(f"{prefix}."):
            number, _, key = name[len(prefix) + 1 :].partition(".")
            if number not in parameters or tensor.shape not in (torch.Size([]), parameters[number].shape):
                raise ValueError(f"the checkpoint's {name} {tuple(tensor.shape)} does not fit the parameters")
            of_values = tensor.shape == parameters[number].shape
            states.setdefault(int(number), {})[key] = placed_like(tensor, parameters[number]) if of_values else tensor
    if len({frozenset(state) for state in states.values()}) > 1:
        raise ValueError(f"the checkpoint's {prefix} has not the same tensors for all parameters")
    optimiser.load_state_dict({"state": states, "param_groups": optimiser.state_dict()["param_groups"]})
