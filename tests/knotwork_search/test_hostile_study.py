"""Whatever study.db holds, a search goes on with it or says in one error that it cannot be used; nothing of it is run."""

from __future__ import annotations

import pickle
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator
from hypothesis import given
from hypothesis import strategies as st
from knotwork_search import BlackBox, Budget

from ..hostile import VALUES, cases, damaged, evil_code, refused_clearly, watched
from .toy import PER_LAYER, Toy

EVALUATIONS = 6


def searched(study: Path, accelerator: Accelerator, evaluations: int = EVALUATIONS) -> list[Any]:
    storage = BlackBox("evolution", evaluations, storage=f"sqlite:///{study}", study="knotwork")
    return storage.run(Toy(PER_LAYER), Budget({}), lambda architecture: float(sum(architecture["ratio"])), accelerator)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of some evaluations."""
    file = tmp_path_factory.mktemp("study") / "study.db"
    assert len(searched(file, Accelerator())) == EVALUATIONS
    return file


@pytest.fixture
def study(whole: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    (tmp_path / "inside").mkdir()
    return Path(shutil.copy(whole, tmp_path / "inside" / "study.db"))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Studies that propose nothing new are given up soon."""
    monkeypatch.setattr("knotwork_search._black_box.PROPOSALS", 10)


class Bomb:
    """Leaves a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def columns(file: Path) -> list[tuple[str, str]]:
    """Every column of a database, with its table."""
    with closing(sqlite3.connect(file)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return [(table, row[1]) for table in tables for row in database.execute(f"PRAGMA table_info({table})")]


def written(file: Path, table: str, column: str, value: Any) -> None:
    """Put a value in every row of a column, whatever the column's type; keys that must differ refuse it."""
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("PRAGMA ignore_check_constraints = 1")
        database.execute(f"UPDATE OR IGNORE {table} SET {column} = ?", (value,))


def test_any_value_in_a_study_is_used_or_refused(whole: Path, study: Path, tmp_path: Path, accelerator: Accelerator):
    values = VALUES.map(lambda value: value if isinstance(value, str | float | bool | None) else repr(value)[:2000])
    plain = st.sampled_from([0, 1, -1, 2**62, 1e308, float("inf"), None, "", "{", "[]", "{}", '{"name": 3}', b"\x80\x04."])

    @cases(12)
    @given(place=st.sampled_from(columns(whole)), value=plain | values.filter(_stored))
    def read(place: tuple[str, str], value: Any):
        shutil.copy(whole, study)
        try:
            written(study, *place, value)
        except sqlite3.Error:  # a constraint of the table
            return
        refused_clearly(lambda: searched(study, accelerator, EVALUATIONS + 2))

    with watched(tmp_path):
        read()


def _stored(value: Any) -> bool:
    try:
        return not isinstance(value, str) or bool(value.encode())
    except UnicodeEncodeError:  # which SQLite does not take
        return False


def test_any_damaged_study_is_used_or_refused(whole: Path, study: Path, tmp_path: Path, accelerator: Accelerator):
    @cases(12)
    @given(content=damaged(whole.read_bytes()))
    def read(content: bytes):
        for left in study.parent.glob("study.db-*"):
            left.unlink()
        study.write_bytes(content)
        refused_clearly(lambda: searched(study, accelerator, EVALUATIONS + 2))

    with watched(tmp_path):
        read()


def _bombed(file: Path, marker: Path) -> None:
    """A pickle in every row of every column that takes one."""
    for table, column in columns(file):
        try:
            written(file, table, column, pickle.dumps(Bomb(marker)))
        except sqlite3.Error:
            continue


def _foreign(file: Path, _: Path) -> None:
    file.unlink()
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("CREATE TABLE studies (a TEXT)")


def _view(file: Path, _: Path) -> None:
    """A view that calls for code in place of a table; Python's SQLite has not been told to load any."""
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("DROP TABLE trial_params")
        database.execute("CREATE VIEW trial_params AS SELECT load_extension('evil') AS param_id")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file, marker: file.write_bytes(b""),
        lambda file, marker: file.write_bytes(file.read_bytes()[:5000]),
        lambda file, marker: file.write_bytes(pickle.dumps(Bomb(marker))),
        lambda file, marker: file.write_text(evil_code(marker.parent)),
        _bombed,
        _foreign,
        _view,
    ],
    ids=["empty", "cut", "pickle", "code", "pickles in columns", "foreign", "view"],
)
def test_a_spoilt_study(
    study: Path, tmp_path: Path, accelerator: Accelerator, spoil: Callable[[Path, Path], Any], request: Any
):
    marker = tmp_path / "exploded"
    spoil(study, marker)
    with watched(tmp_path):
        error = refused_clearly(lambda: searched(study, accelerator))
    assert not marker.exists()
    empty = request.node.callspec.id == "empty"  # which SQLite takes for a new database
    assert (error is None) == empty
    if error is not None:
        assert "study's sqlite storage cannot be used" in str(error)
