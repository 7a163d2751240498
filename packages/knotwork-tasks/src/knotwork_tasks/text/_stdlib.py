"""The source files of the running interpreter's standard library: a text that every machine already has."""

import hashlib
import os
import sysconfig
import tokenize
from pathlib import Path

from datasets import Dataset

from knotwork_tasks._datasets import SourceError
from knotwork_tasks.text._splits import HELD_OUT_ONE_IN, TextSplits

# Installed packages are not the standard library; tests and the two vendored applications are much repetition.
_LEFT_OUT_FOLDERS = frozenset(
    {"site-packages", "dist-packages", "__pycache__", "test", "tests", "idle_test", "idlelib", "lib2to3"}
)
# Written when the interpreter was built: the paths and compiler flags of one machine.
_BUILD_RECORD = "_sysconfigdata"


def python_stdlib(root: Path | None = None) -> TextSplits:
    """One document a file, in the order of the paths; about one file in twenty is for validation.

    Which files are for validation follows from their relative paths alone, so it never changes.

    Raises:
        SourceError: this interpreter's library holds no source files (it may be zipped).
    """
    root = root or Path(sysconfig.get_path("stdlib"))
    train: list[str] = []
    validation: list[str] = []
    for path in stdlib_files(root):
        text = _read_source(root / path)
        if text:
            (validation if is_validation_file(path) else train).append(text)
    if not train or not validation:
        raise SourceError(f"'python-stdlib' is empty: {str(root)!r} does not hold the library's .py files")
    return TextSplits(train=Dataset.from_dict({"text": train}), validation=Dataset.from_dict({"text": validation}))


def stdlib_files(root: Path) -> list[str]:
    """The relative posix paths of the library's source files under `root`, sorted."""
    found: list[str] = []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [name for name in subfolders if name not in _LEFT_OUT_FOLDERS]
        sources = (name for name in names if name.endswith(".py") and not name.startswith(_BUILD_RECORD))
        found.extend((Path(folder) / name).relative_to(root).as_posix() for name in sources)
    return sorted(found)


def is_validation_file(path: str) -> bool:
    """Whether this relative posix path is held out. Python's own hash() differs between processes."""
    # Of the usual digests this is the one that comes nearest to 5% of the bytes too, in every Python from 3.10 to 3.13.
    return int.from_bytes(hashlib.blake2s(path.encode()).digest()[:8], "big") % HELD_OUT_ONE_IN == 0


def _read_source(path: Path) -> str | None:
    try:
        with tokenize.open(path) as source:  # honours a file's own `coding:` line
            return source.read()
    except (OSError, SyntaxError, UnicodeDecodeError):
        return None  # a file that Python itself could not read is no text to learn from
