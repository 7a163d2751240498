"""Code that travels with a model: what the configuration names, and what it may import."""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from knotwork_export._errors import ExportError


def has_custom_code(folder: Path) -> bool:
    """Whether the folder's configuration names code of its own (``auto_map``), which needs ``trust_remote_code=True``."""
    return bool(_auto_map(folder))


def code_files(folder: Path) -> list[str]:
    """Names of the Python files that the folder's configuration refers to."""
    modules = {str(reference).split(".")[0] for reference in _auto_map(folder).values()}
    return sorted(f"{module}.py" for module in modules if module.isidentifier())


def check_code(path: Path, may_import: Collection[str]) -> None:
    """Raise ExportError for a file that imports anything but these packages and the standard library."""
    for name in _imported(path):
        if name not in may_import and name not in sys.stdlib_module_names:
            raise ExportError(
                f"{path.name} travels with the model but imports {name}: it may import {', '.join(sorted(may_import))} and the "
                "standard library only, and must be one file"
            )


def _auto_map(folder: Path) -> dict[str, Any]:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config.get("auto_map") or {} if isinstance(config, dict) else {}


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=path.name)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level or (node.module or "").split(".")[0]
