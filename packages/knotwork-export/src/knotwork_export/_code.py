"""Code that travels with a model: what the configuration names, and what it may import."""

from __future__ import annotations

import ast
import re
import reprlib
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

from knotwork_ops import read_mapping

from knotwork_export._errors import ExportError

_REFERENCE = re.compile(r"[A-Za-z_]\w*\.[A-Za-z_]\w*", re.ASCII)


def has_custom_code(folder: Path) -> bool:
    """Whether the folder's configuration names code of its own (``auto_map``), which needs ``trust_remote_code=True``."""
    return bool(_auto_map(folder))


def code_files(folder: Path) -> list[str]:
    """Names of the Python files that the folder's configuration refers to. Raises ValueError for one of another place."""
    return sorted({f"{reference.split('.')[0]}.py" for reference in _auto_map(folder)})


def check_code(path: Path, may_import: Collection[str]) -> None:
    """Raise ExportError for a file that imports anything but these packages and the standard library."""
    for name in _imported(path):
        if name not in may_import and name not in sys.stdlib_module_names:
            raise ExportError(
                f"{path.name} travels with the model but imports {name}: it may import {', '.join(sorted(may_import))} and the "
                "standard library only, and must be one file"
            )


def _auto_map(folder: Path) -> list[str]:
    """What the configuration names as MODULE.CLASS."""
    config = read_mapping(folder / "config.json")
    given = config.get("auto_map") or {}
    if not isinstance(given, dict):
        raise ValueError(f"{folder / 'config.json'} has auto_map {reprlib.repr(given)}: expected a mapping")
    named = [name for value in given.values() for name in (value if isinstance(value, list) else [value]) if name is not None]
    for name in named:
        if not isinstance(name, str) or not _REFERENCE.fullmatch(name):
            raise ValueError(
                f"auto_map in {folder / 'config.json'} names {reprlib.repr(name)}: expected MODULE.CLASS of the folder"
            )
    return named


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=path.name)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level or (node.module or "").split(".")[0]
