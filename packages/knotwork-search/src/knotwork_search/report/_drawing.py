"""The found transformer drawn as a stack of blocks, inside the dashed outline of the largest net of the space.

Widths are to scale: attention is as wide as the embedding and divided into its heads, the MLP as wide as its hidden
layer. Only the names `embed_dim`, `depth`, `num_heads` and `mlp_ratio` are understood; other spaces have their table.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

from knotwork_search.report._format import exact
from knotwork_search.report._values import mapping, number, sequence

WIDTH, CENTRE = 336.0, 170.0  # as wide as a phone, where text keeps its size
WIDEST_HIDDEN, WIDEST_EMBEDDING = 328.0, 200.0  # the embedding leaves room for its labels on both sides
TEXT, LETTER = 12.0, 7.2  # a label's size, and what a letter of it takes in a wide font
MOST_LAYERS, MOST_HEADS = 100, 256


@dataclass(frozen=True)
class Layer:
    """One transformer block, sizes in units of the model."""

    heads: int
    hidden: float
    ratio: float


@dataclass(frozen=True)
class Transformer:
    """What is drawn: the found net, and how large the space would have let it be.

    Attributes:
        layers: by layer of the largest net; None for one that is not used.
    """

    embed: float
    layers: list[Layer | None]
    largest_embed: float
    largest_hidden: float


def read_transformer(architecture: dict[str, Any], space: dict[str, Any]) -> Transformer | None:
    """The net that `architecture` names, or None where it is not a transformer that can be drawn."""
    choices = mapping(space.get("choices"))
    embed, depth = number(architecture.get("embed_dim")), number(architecture.get("depth"))
    if embed is None or depth is None or embed <= 0 or not 1 <= depth <= MOST_LAYERS:
        return None
    heads = _per_layer(architecture.get("num_heads"), int(depth))
    ratios = _per_layer(architecture.get("mlp_ratio"), int(depth))
    if heads is None or ratios is None or max(heads) > MOST_HEADS:
        return None
    largest_depth = min(MOST_LAYERS, int(max(depth, *_options(choices, "depth"))))
    layers: list[Layer | None] = [None] * largest_depth
    for at, (count, ratio) in zip(_kept(space, largest_depth), zip(heads, ratios, strict=True), strict=False):
        layers[at] = Layer(int(count), ratio * embed, ratio)
    largest_embed = max(embed, *_options(choices, "embed_dim"))
    return Transformer(
        embed,
        layers,
        largest_embed,
        largest_embed * max(*ratios, *_options(choices, "mlp_ratio")),
    )


def _kept(space: dict[str, Any], layers: int) -> list[int]:
    """The layers in the order that depths keep them in."""
    order = [int(at) for at in map(number, sequence(space.get("layer_order"))) if at is not None]
    return order if sorted(order) == list(range(layers)) else list(range(layers))


def _per_layer(value: object, depth: int) -> list[float] | None:
    entries = value[:depth] if isinstance(value, list) else [value] * depth
    found = [entry for entry in map(number, entries) if entry is not None and entry > 0]
    return found if len(found) == depth else None


def _options(choices: dict[str, Any], name: str) -> list[float]:
    found = [number(option) for option in sequence(mapping(choices.get(name)).get("options"))]
    return [0.0, 0.0, *(option for option in found if option is not None)]


def scale_of(net: Transformer) -> float:
    """What a unit of the model measures where `net` is drawn as large as the page lets it be."""
    return min(WIDEST_HIDDEN / max(net.largest_hidden, net.largest_embed), WIDEST_EMBEDDING / net.largest_embed)


def draw_transformer(net: Transformer, scale: float | None = None) -> str:
    """`net` as an inline SVG; its colours are the page's classes. Nets drawn to one `scale` can be compared by eye."""
    row = 20.0 if len(net.layers) <= 16 else 16.0
    scale = scale_of(net) if scale is None else scale
    canvas = _Canvas(row, scale)
    canvas.bar("embedding", net.embed, net.largest_embed, f"{exact(net.embed)} wide", side="embedding")
    canvas.space()
    for at, layer in enumerate(net.layers):
        if layer is not None:
            canvas.bar("attention", net.embed, net.largest_embed, _count(layer.heads, "head"), f"layer {at + 1}", layer.heads)
            canvas.bar("mlp", layer.hidden, net.largest_hidden, f"MLP {exact(layer.ratio)} × {exact(net.embed)}")  # noqa: RUF001
        else:
            canvas.bar("", 0, net.largest_embed, "not used", f"layer {at + 1}")
            canvas.bar("", 0, net.largest_hidden, "")
        canvas.space()
    canvas.bar("embedding", net.embed, net.largest_embed, "output", side="head")
    return canvas.svg(f"{_count(sum(layer is not None for layer in net.layers), 'layer')}, embedding {exact(net.embed)} wide")


def _count(count: int, name: str) -> str:
    return f"{count} {name}" if count == 1 else f"{count} {name}s"


class _Canvas:
    """Rows of centred bars from top to bottom."""

    def __init__(self, row: float, scale: float) -> None:
        self.row, self.scale = row, scale
        self.y = 2.0
        self.shapes: list[str] = []

    def space(self) -> None:
        self.y += 0.45 * self.row

    def bar(self, name: str, width: float, largest: float, label: str, side: str = "", cells: int = 1) -> None:
        """A bar `width` wide, cut into `cells`, in the outline of the `largest`; an unused layer has width 0."""
        if side:
            self._text(0, side, "start", "side")
        if largest > width:
            self._rect("outline", largest)
        if width:
            self._rect(name, width)
            left, drawn = CENTRE - width * self.scale / 2, width * self.scale
            for at in range(1, cells):
                x = left + drawn * at / cells
                self.shapes.append(
                    f'<line class="cut" x1="{x:.1f}" x2="{x:.1f}" y1="{self.y:.1f}" y2="{self.y + self.row - 3:.1f}"/>'
                )
        # An MLP's label fits into its bar; beside its outline there is room only where the embedding is.
        needed = LETTER * len(label)
        if (width or largest) * self.scale > needed and cells == 1:
            self._text(CENTRE, label, "middle", "inside" if width else "side")
        else:
            beside = [CENTRE + edge * self.scale / 2 + 6 for edge in (max(width, largest), width)]
            self._text(next((x for x in beside if x + needed <= WIDTH), WIDTH - needed), label, "start", "label")
        self.y += self.row

    def _rect(self, name: str, width: float) -> None:
        drawn = width * self.scale
        self.shapes.append(
            f'<rect class="{name}" x="{CENTRE - drawn / 2:.1f}" y="{self.y:.1f}" width="{drawn:.1f}"'
            f' height="{self.row - 3:.1f}" rx="2"/>'
        )

    def _text(self, x: float, text: str, anchor: str, name: str) -> None:
        baseline = self.y + (self.row - 3) / 2 + 0.36 * TEXT
        self.shapes.append(
            f'<text class="{name}" x="{x:.1f}" y="{baseline:.1f}" font-size="{TEXT:.0f}" text-anchor="{anchor}">'
            f"{escape(text)}</text>"
        )

    def svg(self, title: str) -> str:
        shapes = "\n".join(self.shapes)
        return (
            f'<svg class="drawing" viewBox="0 0 {WIDTH:.0f} {self.y:.0f}" width="100%" role="img"'
            f' aria-label="{escape(title)}">\n{shapes}\n</svg>'
        )
