"""The published figures of every architecture: what training each alone on Fashion-MNIST gave."""

from __future__ import annotations

import csv
import math
import reprlib
from pathlib import Path
from typing import NamedTuple

from knotwork_ops import Architecture

from knotwork_spaces.cells._cost import parameter_count
from knotwork_spaces.cells._space import ToyCellSpace
from knotwork_spaces.cells.toy_cell_network import CHOICES

FIGURES = ("test_accuracy", "train_accuracy", "parameters")


class BenchmarkRow(NamedTuple):
    """What is known of one architecture.

    Attributes:
        test_accuracy: in percent.
        train_accuracy: in percent, at the end of training.
        parameters: the architecture's own number of parameters.
    """

    test_accuracy: float
    train_accuracy: float
    parameters: int


def read_benchmark(path: Path | str) -> dict[Architecture, BenchmarkRow]:
    """The rows of TangleNAS' tabular benchmark by architecture of ``ToyCellSpace.build()``.

    The file has the columns ``normal_0_1`` ... ``reduce_1_2``, ``test_accuracy``, ``train_accuracy`` and ``parameters``. Its
    authors counted parameters with the operations of normal and reduction cells exchanged, though they trained the nets as
    they are named. That column is checked for it, and a row here holds the true count.

    Raises:
        ValueError: another column, operation or figure, an architecture twice, or another count of parameters; the message
            names the line.
        OSError: the file cannot be read.
    """
    try:
        return _rows(Path(path))
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a CSV file: {error}") from error


def _rows(path: Path) -> dict[Architecture, BenchmarkRow]:
    space, rows = ToyCellSpace.build(), {}
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        columns = [*CHOICES, *FIGURES]
        if reader.fieldnames is None or sorted(reader.fieldnames) != sorted(columns):
            raise ValueError(f"{path} has the columns {str(reader.fieldnames)[:400]}: a toy-cell benchmark has {columns}")
        for values in reader:
            try:
                architecture, row = _row(space, values)
            except ValueError as error:
                raise ValueError(f"{path}, line {reader.line_num}: {error}") from error
            if architecture in rows:
                raise ValueError(f"{path}, line {reader.line_num}: the architecture {architecture} stands twice")
            rows[architecture] = row
    return rows


def exchanged(space: ToyCellSpace, architecture: Architecture) -> Architecture:
    """The architecture whose normal cells have this one's operations of reduction cells, and the reverse."""
    other = {"normal": "reduce", "reduce": "normal"}
    return space.architecture({f"{other[name[:6]]}{name[6:]}": option for name, option in architecture.items()})


def _row(space: ToyCellSpace, values: dict[str, str]) -> tuple[Architecture, BenchmarkRow]:
    if None in values or None in values.values():
        raise ValueError(f"a row has {len(CHOICES) + len(FIGURES)} entries")
    architecture = space.architecture({name: values[name] for name in CHOICES})
    test, train, counted = (_figure(name, values[name]) for name in FIGURES)
    expected = parameter_count(space, exchanged(space, architecture))
    if counted != expected:
        raise ValueError(f"parameters are {counted:,.0f}, but with normal and reduction cells exchanged there are {expected:,}")
    return architecture, BenchmarkRow(test, train, parameter_count(space, architecture))


def _figure(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf or (name != "parameters" and value > 100):
        raise ValueError(f"{name} is {reprlib.repr(text)}: it must be a {'count' if name == 'parameters' else 'percentage'}")
    return value
