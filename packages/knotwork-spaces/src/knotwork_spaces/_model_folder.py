"""A model's folder, looked at before an upstream library loads it: what it says of itself must be true of its own files."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

from knotwork_ops import MOST_LAYERS, read_mapping
from torch import Tensor

from knotwork_spaces._settings import check_weights

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
ADAPTER = "adapter_config.json"
LAYER_COUNTS = re.compile(r"(n|num|number)(_of)?(_hidden|_decoder|_encoder)?_layers?|depth")
"""What configurations call the number of layers."""
_OWN_CODE = re.compile(r"[A-Za-z_]\w*\.[A-Za-z_]\w*", re.ASCII)
PACKED, UNSTORED = 16, 10**8
"""A model may have this many times the entries of its file, where these are quantised, and so many more, such as masks."""
_NAMED = 5


def check_model_folder(folder: Path, *, weights: bool = True, sharded: bool = True) -> dict[str, Any]:
    """The configuration of a folder with a model, once it is seen that loading it reads nothing else.

    Args:
        folder: with ``config.json`` and, in one file or several, safetensors.
        weights: whether the weights are to be loaded as well.
        sharded: whether they may lie in several files, which timm does not read.

    Returns:
        What ``config.json`` says.

    Raises:
        OSError: a file cannot be read.
        ValueError: a configuration that is damaged, names code of another place or more layers than there are; no safetensors,
            damaged ones, or ones outside the folder; an adapter, whose base is another model.
    """
    config = read_mapping(_inside(folder, CONFIG))
    for name, reference in _references(config):
        if not isinstance(reference, str) or not _OWN_CODE.fullmatch(reference):
            raise ValueError(
                f"auto_map in {folder / CONFIG} names {reprlib.repr(reference)} for {name}: code must lie in the folder itself"
            )
    if (folder / ADAPTER).exists():
        raise ValueError(f"{folder} holds an adapter ({ADAPTER}): merge it into its model, and remove it")
    if config.get("transformers_weights") not in (None, WEIGHTS, INDEX):
        raise ValueError(f"{folder / CONFIG} names other weights than {WEIGHTS} (transformers_weights)")
    if weights and not sharded and not (folder / WEIGHTS).is_file():
        raise ValueError(f"{folder} has no {WEIGHTS}: weights are read from safetensors only")
    most = min(MOST_LAYERS, len(stored_shapes(folder))) if weights else MOST_LAYERS
    for name, count in _layer_counts(config):
        if count > most:
            raise ValueError(f"{folder / CONFIG} has {name} {count:,}: its weights are of at most {most:,} layers")
    return config


def check_size(folder: Path, model: Any, *, weights: bool = True) -> None:
    """Raise ValueError for a model far larger than the weights in its folder.

    Args:
        folder: with its weights.
        model: as its configuration describes it, best on the meta device, where it takes no memory.
        weights: whether the folder's weights are to be loaded; else the model must only fit some memory.
    """
    described = sum(tensor.numel() for tensors in (model.parameters(), model.buffers()) for tensor in tensors)
    if not weights:
        check_weights(described)
        return
    stored = sum(prod(shape) for shape in stored_shapes(folder).values())
    if described > PACKED * stored + UNSTORED:
        raise ValueError(f"{folder / CONFIG} describes {described:,} weights, but the folder holds {stored:,}")


def check_finite(state: Mapping[str, Tensor], source: Path | str) -> None:
    """Raise ValueError, which names tensors, for weights that are not finite: nothing can be learnt from them.

    Args:
        state: a state dict.
        source: where it came from.
    """
    broken = [name for name, tensor in state.items() if tensor.is_floating_point() and not bool(tensor.isfinite().all())]
    if broken:
        more = f" and {len(broken) - _NAMED} more" if len(broken) > _NAMED else ""
        raise ValueError(f"the weights in {source} are not finite: NaN or infinity in {', '.join(broken[:_NAMED])}{more}")


def stored_shapes(folder: Path) -> dict[str, list[int]]:
    """The shape of every tensor in the safetensors of a folder, from their headers alone.

    Raises:
        ValueError: there are none, or they are damaged or lie outside the folder.
    """
    from safetensors import SafetensorError, safe_open

    shapes: dict[str, list[int]] = {}
    for file in _weight_files(folder):
        try:
            with safe_open(file, "pt") as tensors:
                shapes |= {name: tensors.get_slice(name).get_shape() for name in tensors.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{file} cannot be read: {error}") from error
    return shapes


def _weight_files(folder: Path) -> list[Path]:
    """The files that upstream libraries read a folder's weights from."""
    if (folder / WEIGHTS).is_file():
        return [_inside(folder, WEIGHTS)]
    if not (folder / INDEX).is_file():
        # Weights in other formats may be pickled, and reading them can run code.
        raise ValueError(f"{folder} has no {WEIGHTS}: weights are read from safetensors only")
    files = read_mapping(_inside(folder, INDEX)).get("weight_map")
    if not isinstance(files, dict) or not files:
        raise ValueError(f"{folder / INDEX} has no weight_map")
    for name in files.values():
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
            raise ValueError(
                f"{folder / INDEX} names the file {reprlib.repr(name)}: it must be a safetensors file of the folder"
            )
    return [_inside(folder, name) for name in sorted(set(files.values()))]


def _inside(folder: Path, name: str) -> Path:
    """A file of the folder. Raises ValueError when it is a link to another place.

    The Hub's cache links a model's files to the blobs beside it, so these are its own.
    """
    real, room = (folder / name).resolve(), folder.resolve()
    blobs = room.parent.parent / "blobs"
    if real.is_relative_to(room) or (room.parent.name == "snapshots" and real.is_relative_to(blobs)):
        return folder / name
    raise ValueError(f"{folder / name} links to {real}, which lies outside the folder: replace it with a copy")


def _references(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What ``auto_map`` names, which may be lists of which an entry may be None."""
    given = config.get("auto_map") or {}
    if not isinstance(given, dict):
        yield "all", given
        return
    for name, value in given.items():
        for reference in value if isinstance(value, list) else [value]:
            if reference is not None:
                yield name, reference


def _layer_counts(values: Any) -> Iterator[tuple[str, int]]:
    """Every number of layers in a configuration, those of its parts as well."""
    if isinstance(values, list):
        for value in values:
            yield from _layer_counts(value)
    elif isinstance(values, dict):
        for name, value in values.items():
            if isinstance(value, int) and LAYER_COUNTS.fullmatch(name):
                yield name, value
            yield from _layer_counts(value)
