"""The page that lays several runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from knotwork_search.report._contrast import outcome_contrast_html, settings_contrast_html
from knotwork_search.report._drawing import draw_transformer, read_transformer, scale_of
from knotwork_search.report._headline import state_of
from knotwork_search.report._outcome import choices_html
from knotwork_search.report._overlay import Curve, entropy, over_flops, over_steps, overlay_chart, stroke
from knotwork_search.report._run import Run
from knotwork_search.report._template import figure_html, page_html, section_html
from knotwork_search.report._values import mapping

SPLITS = {
    "weight": "Loss of the weight steps",
    "architecture": "Loss of the architecture steps",
    "incumbent": "Loss of the architecture that would be returned",
    "validation": "Validation loss",
}
WHAT_A_STEP_TRAINS = "Moving means. What a step's loss is of depends on the strategy: nets are compared by their outcomes."


def compose_side_by_side(runs: Sequence[Run]) -> str:
    """The page of several `runs`, whose names must differ."""
    title = f"{len(runs)} runs side by side"
    header = f"<header><h1>{escape(title)}</h1>{runs_legend_html(runs)}</header>"
    parts = (outcome_contrast_html, settings_contrast_html, curves_html, architectures_html)
    return page_html(title, header + "".join(part(runs) for part in parts))


def runs_legend_html(runs: Sequence[Run]) -> str:
    """The line of each run beside its name."""
    items = []
    for at, run in enumerate(runs):
        colour, style = stroke(at)
        items.append(f'<li><span class="stroke" style="border-top:3px {style} {colour}"></span>{escape(run.name)}</li>')
    return f'<ul class="legend">{"".join(items)}</ul>'


def curves_html(runs: Sequence[Run]) -> str:
    """Losses over steps and over FLOPs, and the entropy of the architecture parameters."""
    figures = []
    for split, heading in SPLITS.items():
        steps = over_steps(split)
        if split == "validation" and all(len(steps(run)) < 2 for run in runs):
            continue  # the one validation at the end of a search stands in the table
        note = WHAT_A_STEP_TRAINS if split in ("weight", "architecture") else ""
        figures.append(_figure_html(heading, f"{split}-steps", runs, steps, note=note))
        figures.append(_figure_html(f"{heading}, over FLOPs", f"{split}-flops", runs, over_flops(split), across="FLOPs"))
    figures.append(
        _figure_html("Entropy of the architecture parameters", "entropy", runs, entropy, label="entropy", floor=True)
    )
    drawn = "".join(figures)
    return section_html("Curves", f'<div class="figures">{drawn}</div>' if drawn else "<p>No run has logged a loss yet.</p>")


def _figure_html(
    heading: str,
    name: str,
    runs: Sequence[Run],
    curve: Curve,
    *,
    note: str = "",
    label: str = "loss",
    across: str = "",
    floor: bool = False,
) -> str:
    without = [run.name for run in runs if not len(curve(run))]
    notes = [note, f"Not recorded: {', '.join(without)}." if without else ""]
    svg = overlay_chart(name, runs, curve, label=label, across=across, floor=floor)
    return figure_html(heading, svg, runs_legend_html(runs), " ".join(filter(None, notes)))


def architectures_html(runs: Sequence[Run]) -> str:
    """What was found by each run: drawn to one scale where it is a transformer, else as a table."""
    nets = [read_transformer(mapping(mapping(run.outcome).get("architecture")), run.space) for run in runs]
    scale = min((scale_of(net) for net in nets if net is not None), default=None)
    blocks = []
    for run, net in zip(runs, nets, strict=True):
        if net is not None:
            shown = draw_transformer(net, scale)
        elif mapping(mapping(run.outcome).get("architecture")):
            shown = choices_html(run)
        else:
            shown = f"<p class='state'>{escape(_no_architecture(run))}</p>"
        blocks.append(f"<figure><h3>{escape(run.name)}</h3>{shown}</figure>")
    intro = "<p>Widths are to one scale; dashed is the largest net of each space.</p>" if scale is not None else ""
    return section_html("Architectures", f'{intro}<div class="figures">{"".join(blocks)}</div>')


def _no_architecture(run: Run) -> str:
    return state_of(run) or "This run trained one net: it searched for no architecture."
