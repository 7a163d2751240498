"""A matplotlib figure as SVG text that can stand inside an HTML page beside others.

matplotlib writes a whole document with fixed colours and ids that repeat from figure to figure. Here the document's
frame goes, every id gets the figure's name as a prefix, and two marker colours become CSS ones, so that text and grid
follow the page's light or dark scheme.
"""

from __future__ import annotations

import io
import re
from html import escape

try:
    import matplotlib.style
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator
except ImportError as error:
    raise ImportError("The report needs matplotlib. Install it with: pip install 'knotwork-search[report]'") from error

from knotwork_search.report._format import compact

INK, GRID = "#010203", "#040506"  # stand for the page's own colours; no series uses them
BLUE, ORANGE, GREEN, RED, VIOLET = "#3f83d4", "#e08a2e", "#2f9e7a", "#d64f4f", "#8a63c9"
SERIES_COLOURS = (BLUE, ORANGE, GREEN, VIOLET, RED)
WIDTH = 4.6  # inches: as wide as a phone, where text keeps its size
TEXT = 12  # points, and so CSS pixels on a phone
STYLE: dict[str, object] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "knotwork",
    "text.parse_math": False,
    "font.size": TEXT,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.solid_joinstyle": "round",
}


class Plot:
    """A figure in the page's style: `with Plot("losses", 1, 2.6) as plot`, draw on `plot.axes`, then take `plot.svg`."""

    def __init__(self, name: str, rows: int = 1, height: float = 2.5) -> None:
        self.name = name
        self.svg = ""
        self._style = matplotlib.style.context(STYLE, after_reset=True)  # type: ignore[arg-type]
        self._rows, self._height = rows, height

    def __enter__(self) -> Plot:
        self._style.__enter__()
        self.figure = Figure(figsize=(WIDTH, self._height), layout="constrained")
        grid = self.figure.subplots(self._rows, 1, sharex=True, squeeze=False)
        self.axes: list[Axes] = [row[0] for row in grid]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if kind is None:
                self.svg = self._inline()
        finally:
            self._style.__exit__(None, None, None)

    def _inline(self) -> str:
        buffer = io.StringIO()
        self.figure.savefig(buffer, format="svg", transparent=True, metadata=dict.fromkeys(NO_METADATA))
        return inline_svg(buffer.getvalue(), self.name)


NO_METADATA = ("Date", "Creator", "Format", "Type")


def inline_svg(document: str, name: str) -> str:
    """The `<svg>` element of `document`, as wide as its surroundings, with every id prefixed by `name`."""
    svg = document[document.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"^(<svg[^>]*?) width=\"[^\"]*\"", r'\1 width="100%"', svg)
    svg = re.sub(r"^(<svg[^>]*?) height=\"[^\"]*\"", rf'\1 role="img" aria-label="{escape(name)}"', svg)
    prefix = re.sub(r"[^A-Za-z0-9]+", "-", name)
    # Inside tags only: the text of a label may say anything.
    svg = re.sub(r"<[^>]*>", lambda tag: _restyle(tag.group(), prefix), svg)
    return svg.strip()


def _restyle(tag: str, prefix: str) -> str:
    tag = re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{prefix}-", tag)
    return tag.replace(INK, "currentColor").replace(GRID, "var(--line)")


def label_axes(axes: Axes, *, steps: bool = True) -> None:
    """Few ticks with short numbers; the lowest panel of a figure names its steps."""
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: compact(value)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: compact(value)))
    axes.tick_params(length=0)
    if steps:
        axes.set_xlabel("step")
