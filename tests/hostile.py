"""Files that nobody should trust: valid ones with something changed, and all else. Who reads them must say what is wrong.

Few cases are drawn by default, always the same; ``KNOTWORK_FUZZ=10 uv run pytest -k hostile_files`` draws ten times as many and
others each time.
"""

from __future__ import annotations

import copy
import json
import os
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

FACTOR = int(os.environ.get("KNOTWORK_FUZZ", "1"))
MOST_MEMORY = 2**30
LONGEST_MESSAGE = 4000
MARKER = "knotwork_was_here"
"""What code that must not run leaves behind: a file, and a module of this name."""


def cases(count: int) -> settings:
    """How many cases a test draws."""
    quiet = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=count * FACTOR, derandomize=FACTOR == 1, deadline=None, suppress_health_check=quiet)


NUMBERS = (
    st.sampled_from([0, 1, 2, -1, 3, 8, 10**6, 10**9, 10**12, 2**63, 10**400, 0.5, 1e-300, 1e308]) | st.integers() | st.floats()
)
TEXTS = st.text(max_size=8) | st.sampled_from(
    [
        "",
        "../up",
        "../../evil.Evil",
        "/etc/passwd",
        "evil/repo--modeling.Evil",
        "\0",
        "\ud800",
        "gpt2",
        "per_layer",
        "NaN",
        "x" * 1000,
    ]
)
DEEP = st.sampled_from([60, 500, 5000]).map(lambda depth: _nested(depth))
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
"""What JSON can hold, and more of it than any reader wants."""


def _nested(depth: int) -> Any:
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


@st.composite
def mutated(draw: st.DrawFn, document: Any) -> Any:
    """A document with one to three values replaced, removed, repeated under another name, or wrapped."""
    changed = {"": copy.deepcopy(document)}
    for _ in range(draw(st.sampled_from([1, 1, 2, 3]))):
        places = list(_places(changed))
        holder, key = places[draw(st.integers(0, len(places) - 1))]
        change = draw(st.sampled_from(["replace", "replace", "replace", "number", "remove", "repeat", "wrap", "swap"]))
        if change == "remove" and holder is not changed:
            del holder[key]
        elif change == "repeat" and isinstance(holder, dict) and holder is not changed:
            holder[draw(TEXTS)] = holder[key]
        elif change == "wrap":
            holder[key] = draw(st.sampled_from([[holder[key]], {"a": holder[key]}, [holder[key]] * 3]))
        elif change == "number":
            holder[key] = draw(NUMBERS)
        elif change == "swap":
            other, place = places[draw(st.integers(0, len(places) - 1))]
            holder[key] = copy.deepcopy(other[place])
        else:
            holder[key] = draw(VALUES)
    return changed[""]


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes cut short, changed at a few places, or with others put in."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        change = draw(st.sampled_from(["cut", "flip", "insert", "head"]))
        if change == "cut":
            del data[at:]
        elif change == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=8) | st.sampled_from([b"\xff\xfe", b"\0", b"[" * 3000, b"{}"]))
        elif change == "head":  # where lengths and magic numbers stand
            data[: draw(st.integers(0, 12))] = draw(st.binary(max_size=12))
        elif data:
            data[at] ^= draw(st.integers(1, 255))
    return bytes(data)


def json_bytes(document: Any) -> st.SearchStrategy[bytes]:
    """The content of a JSON file that should hold this document."""
    return _contents(document, lambda value: json.dumps(value).encode())


ODD_YAML = [
    "!!timestamp x",
    "!!bool x",
    "!!int x",
    "2024-99-99",
    "!!python/object/apply:os.system [true]",
    "&a [*a]",
    "!!set {a}",
    "&b [&c [&d [&e [" + "1," * 40 + "]" + ",*e" * 40 + "]" + ",*d" * 40 + "]" + ",*c" * 40 + "]",
    "0x" + "f" * 5000,
    "{? [a] : b}",
]
"""Values that PyYAML's constructors raise errors of their own for, and those that grow when they are printed."""


def yaml_bytes(document: Any) -> st.SearchStrategy[bytes]:
    """The content of a YAML file that should hold this document; tags and aliases as well."""
    tagged = st.builds(
        lambda name, value: yaml.safe_dump(document).encode() + f"{name}: {value}\n".encode(),
        st.sampled_from([*document, "other"]),
        st.sampled_from(ODD_YAML),
    )
    contents = _contents(document, _yaml)
    return st.integers(0, 9).flatmap(lambda number: tagged if number > 8 else contents)


def _yaml(value: Any) -> bytes:
    try:
        return yaml.safe_dump(value).encode()
    except (UnicodeEncodeError, ValueError, RecursionError):  # lone surrogates, numbers of very many digits
        return json.dumps(value).encode()


def one_changed(whole: dict[str, bytes]) -> st.SearchStrategy[dict[str, bytes]]:
    """The contents of a folder's files, one of them changed: of what is JSON, JSON lines or YAML its values as well."""
    kinds: dict[str, Callable[[bytes], st.SearchStrategy[bytes]]] = {
        ".json": lambda content: json_bytes(json.loads(content)),
        ".jsonl": lambda content: mutated([json.loads(line) for line in content.splitlines()]).map(_lines),
        ".yaml": lambda content: yaml_bytes(yaml.safe_load(content)),
    }
    changes = [st.tuples(st.just(name), kinds.get(Path(name).suffix, damaged)(content)) for name, content in whole.items()]
    return st.one_of(changes).map(lambda change: {**whole, change[0]: change[1]})


def _lines(records: Any) -> bytes:
    return "\n".join(map(json.dumps, records if isinstance(records, list) else [records])).encode()


def write_all(folder: Path, contents: dict[str, bytes]) -> None:
    """Write the files of a folder."""
    for name, content in contents.items():
        (folder / name).write_bytes(content)


def _contents(document: Any, dump: Callable[[Any], bytes]) -> st.SearchStrategy[bytes]:
    deep = DEEP.map(lambda value: repr(value).replace("'", '"').encode() if _shallow(value) else b'{"a":' * 9000)
    changed = mutated(document).map(dump)
    anything = st.one_of(damaged(dump(document)), VALUES.map(dump), st.binary(max_size=40), deep)
    # Most of what is not parsed ends in one place, so most are documents with something changed.
    return st.integers(0, 9).flatmap(lambda number: anything if number > 6 else changed)


def _shallow(value: Any) -> bool:
    for _ in range(100):
        if not isinstance(value, dict | list):
            return True
        value = value["a"] if isinstance(value, dict) else value[0]
    return False


def refused_clearly(call: Callable[[], Any]) -> Exception | None:
    """Call a reader: it returns (None), or raises what ``run_command`` turns into one line, in words and of bearable length."""
    error = _error_of(call)
    if error is not None:
        assert str(error), f"a {type(error).__name__} without words"
        assert len(str(error)) < LONGEST_MESSAGE, f"{len(str(error))} characters: {str(error)[:300]}"
    return error


def _error_of(call: Callable[[], Any]) -> Exception | None:
    try:
        call()
    except (ValueError, OSError) as error:
        return error
    return None


def listing(*folders: Path) -> dict[str, int]:
    """Every file below the folders, with its size."""
    return {str(path): path.lstat().st_size for folder in folders for path in sorted(folder.rglob("*")) if not path.is_dir()}


@contextmanager
def watched(room: Path) -> Iterator[Path]:
    """A folder to write hostile files to. Nothing beside it may change, no code may run, and no gigabytes be taken.

    Home, the current folder and the temporary folder are beside it for as long.
    """
    inside, outside = room / "inside", room / "outside"
    homes = {name: outside / name.lower() for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME")}
    for folder in (inside, outside / "cwd", *homes.values()):
        folder.mkdir(parents=True, exist_ok=True)
    (outside / "treasure.safetensors").write_bytes(b"not yours")
    before, here, environment = listing(outside), Path.cwd(), {name: os.environ.get(name) for name in homes}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    os.environ.update({name: str(folder) for name, folder in homes.items()})
    os.chdir(outside / "cwd")
    try:
        yield inside
    finally:
        os.chdir(here)
        for name, value in environment.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
    assert listing(outside) == before, "a file outside the folder was written"
    assert not list(room.rglob(MARKER)), "code of a file ran"
    assert MARKER not in sys.modules
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory)
    assert grown < MOST_MEMORY, f"{grown:,} bytes were taken"


def evil_code(room: Path) -> str:
    """Python that leaves the marker in a room."""
    return f"import pathlib, sys\npathlib.Path({str(room / MARKER)!r}).touch()\nsys.modules[{MARKER!r}] = pathlib\n"
