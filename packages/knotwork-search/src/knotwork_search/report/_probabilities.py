"""The architecture parameters over time: for each choice how likely each option is, one band an option."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from knotwork_search.report._figure import Plot, label_axes
from knotwork_search.report._format import plain
from knotwork_search.report._series import names, thin_indices
from knotwork_search.report._values import mapping, number, sequence

POINTS_ON_PAGE = 60_000  # over all bands of all choices: about 1.5 MB of SVG
MOST_LAYERS = 100
MOST_POINTS = 400  # of one band
# From the smallest option to the largest; any two neighbours differ on white and on black.
RAMP = ((0xA9, 0xD8, 0xC4), (0x4E, 0xA3, 0xC8), (0x4A, 0x6F, 0xC4), (0x7A, 0x3F, 0x9E))


@dataclass(frozen=True)
class ChoiceHistory:
    """The probabilities of one choice: `layers[layer][option]` holds a value for each of `steps`."""

    name: str
    per_layer: bool
    steps: list[float]
    layers: list[list[list[float]]]

    @property
    def options(self) -> int:
        return len(self.layers[0])

    def last(self) -> list[list[float]]:
        """The last probabilities, layer by layer."""
        return [[option[-1] for option in layer] for layer in self.layers]


def histories(metrics: list[dict[str, Any]]) -> list[ChoiceHistory]:
    """The history of each choice, thinned so that the page keeps its size however many steps and layers there are."""
    found = [_collect(metrics, name) for name in names(metrics, "architecture", "probabilities")]
    complete = [history for history in found if history is not None]
    bands = sum(len(history.layers) * history.options for history in complete)
    limit = max(20, min(MOST_POINTS, POINTS_ON_PAGE // max(1, 2 * bands)))
    return [_thinned(history, limit) for history in complete]


def _collect(metrics: list[dict[str, Any]], name: str) -> ChoiceHistory | None:
    raw: dict[float, Any] = {}
    for record in metrics:
        if record.get("split") != "architecture":
            continue
        step, probabilities = number(record.get("step")), record.get("probabilities")
        if step is not None and isinstance(probabilities, dict) and name in probabilities:
            raw[step] = probabilities[name]
    ordered = sorted(raw)
    # Thinned before it is read: a long run has millions of probabilities.
    read = {ordered[at]: _layers(raw[ordered[at]]) for at in thin_indices(len(ordered), MOST_POINTS)}
    by_step = {step: layers for step, layers in read.items() if layers is not None}
    if not by_step:
        return None
    steps = sorted(by_step)
    per_layer, last = by_step[steps[-1]]
    # Only the shape that holds at the end: a run resumed with another space would not fit into one panel.
    shape = [len(layer) for layer in last]
    steps = [step for step in steps if [len(layer) for layer in by_step[step][1]] == shape]
    layers = [
        [[by_step[step][1][layer][option] for step in steps] for option in range(options)]
        for layer, options in enumerate(shape)
    ]
    return ChoiceHistory(name, per_layer, steps, layers[:MOST_LAYERS])


def _layers(value: object) -> tuple[bool, list[list[float]]] | None:
    entries = sequence(value)
    per_layer = bool(entries) and all(isinstance(entry, list) for entry in entries)
    found: list[list[float]] = []
    for layer in entries if per_layer else [entries]:
        probabilities = [number(entry) for entry in layer]
        if not probabilities or any(entry is None for entry in probabilities):
            return None
        found.append([entry for entry in probabilities if entry is not None])
    return (per_layer, found) if len({len(layer) for layer in found}) == 1 else None


def _thinned(history: ChoiceHistory, limit: int) -> ChoiceHistory:
    kept = thin_indices(len(history.steps), limit)
    layers = [[[option[at] for at in kept] for option in layer] for layer in history.layers]
    return ChoiceHistory(history.name, history.per_layer, [history.steps[at] for at in kept], layers)


def probability_chart(history: ChoiceHistory, at: int) -> str:
    """The bands of one choice (the `at`-th, which only names the figure), a panel for each layer."""
    rows = len(history.layers)
    height = 1.7 if rows == 1 else 0.55 + rows * (0.42 if rows <= 16 else 0.26)
    colours = option_colours(history.options)
    steps, layers = history.steps, history.layers
    if len(steps) == 1:  # a band needs a width
        steps, layers = [steps[0], steps[0] + 1], [[option * 2 for option in layer] for layer in layers]
    with Plot(f"probabilities-{at}", rows, height) as plot:
        for layer, axes in enumerate(plot.axes):
            axes.stackplot(steps, *layers[layer], colors=colours, linewidth=0)
            label_axes(axes, steps=layer == rows - 1)
            axes.grid(False)
            axes.set_xlim(steps[0], steps[-1])
            axes.set_ylim(0, 1)
            for side in axes.spines.values():
                side.set_visible(False)
            if history.per_layer:
                axes.set_yticks([0.5], [str(layer + 1)])
            else:
                axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
        if history.per_layer:
            plot.figure.supylabel("layer", fontsize="medium")
    return plot.svg


def option_colours(count: int) -> list[str]:
    """A colour for each of `count` ascending options."""
    colours = []
    for at in range(count):
        place = (len(RAMP) - 1) * (at / (count - 1) if count > 1 else 0.5)
        low = min(int(place), len(RAMP) - 2)
        mixed = (round(a + (b - a) * (place - low)) for a, b in zip(RAMP[low], RAMP[low + 1], strict=True))
        colours.append("#" + "".join(f"{part:02x}" for part in mixed))
    return colours


def option_labels(history: ChoiceHistory, choices: dict[str, Any]) -> list[str]:
    """The options' values where the space is known, else their ranks."""
    options = sequence(mapping(choices.get(history.name)).get("options"))
    if len(options) == history.options:
        return [plain(option) for option in options]
    return [f"option {at + 1}" for at in range(history.options)]
