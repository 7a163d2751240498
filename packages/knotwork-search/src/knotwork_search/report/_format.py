"""Numbers, architectures and tables as text and HTML. Every function named `*_html` escapes what it is given."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape

from knotwork_search.report._values import mapping, number

LONGEST_CELL = 400
ABSENT = "–"  # noqa: RUF001
"""Stands in a table for what is not known."""


def compact(value: float) -> str:
    """Four significant digits with a unit: 577 k, 1.23 M."""
    for size, unit in ((1e15, " P"), (1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= 0.99995 * size:
            return f"{value / size:.4g}{unit}"
    return f"{value:.4g}"


def exact(value: float) -> str:
    """Whole numbers in full with thousands separated, others with five significant digits."""
    if value == round(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    if 1000 <= abs(value) < 1e15:
        return f"{value:,.1f}"
    return f"{value:.5g}"


def plain(value: object) -> str:
    """Any value of a file as text: numbers as a reader wants them, lists joined, mappings as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list) and not any(isinstance(entry, list | dict) for entry in value):
        return ", ".join(plain(entry) for entry in value)
    return json.dumps(value, ensure_ascii=False, default=str)


def architecture_line(architecture: object) -> str:
    """An architecture in a line: `embed_dim 96 · depth 3 · num_heads 4, 8, 2`."""
    return " · ".join(f"{name} {plain(option)}" for name, option in mapping(architecture).items())


def shorten(text: str, limit: int = LONGEST_CELL) -> str:
    """`text`, cut with an ellipsis where it is longer than `limit`."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def cell(value: object) -> str:
    """The text of a table's cell."""
    as_number = number(value)
    return shorten(plain(value)) if as_number is None else exact(as_number)


def table_html(header: Sequence[str], rows: Sequence[Sequence[object]], *, marked: Sequence[int] = (), name: str = "") -> str:
    """A table that scrolls sideways by itself on a narrow screen. Strings stay as they are; numbers are aligned."""
    lines = [f'<div class="scroll"><table{_class_html(name)}>']
    if header:
        lines.append("<thead><tr>" + "".join(f'<th scope="col">{escape(text)}</th>' for text in header) + "</tr></thead>")
    lines.append("<tbody>")
    for at, row in enumerate(rows):
        cells = "".join(
            f"<td{_class_html('number' if number(value) is not None else '')}>{escape(cell(value))}</td>" for value in row
        )
        lines.append(f"<tr{_class_html('marked' if at in marked else '')}>{cells}</tr>")
    lines.append("</tbody></table></div>")
    return "\n".join(lines)


def _class_html(name: str) -> str:
    return f' class="{escape(name)}"' if name else ""
