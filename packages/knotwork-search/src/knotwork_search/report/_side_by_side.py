"""The page that lays several runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from knotwork_search.report._contrast import outcome_contrast_html, settings_contrast_html
from knotwork_search.report._drawing import draw_transformer, read_transformer, scale_of
from knotwork_search.report._format import plain, table_html
from knotwork_search.report._headline import state_of
from knotwork_search.report._overlay import Chart, entropy, over_flops, over_steps, overlay_chart, stroke
from knotwork_search.report._run import Run
from knotwork_search.report._template import figure_html, page_html, section_html

SPLITS = {
    "weight": "Loss of the weight steps",
    "architecture": "Loss of the architecture steps",
    "incumbent": "Loss of the incumbent architecture",
    "validation": "Validation loss",
}
OF_STEPS = "Moving means. Strategies take the loss of a step on different nets: judge what was found by the outcomes."


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
        note = OF_STEPS if split in ("weight", "architecture") else ""
        # The one validation at the end of a search stands in the table.
        least = 2 if split == "validation" else 1
        figures.append(_figure_html(Chart(f"{split}-steps", heading, over_steps(split), note=note, least=least), runs))
        spent = Chart(f"{split}-flops", f"{heading}, over FLOPs", over_flops(split), across="FLOPs", least=least)
        figures.append(_figure_html(spent, runs))
    settled = Chart("entropy", "Entropy of the architecture parameters", entropy, label="entropy", floor=True)
    drawn = "".join([*figures, _figure_html(settled, runs)])
    return section_html("Curves", f'<div class="figures">{drawn}</div>' if drawn else "<p>No run has logged a loss yet.</p>")


def _figure_html(chart: Chart, runs: Sequence[Run]) -> str:
    curves = [chart.curve(run) for run in runs]
    without = [run.name for run, curve in zip(runs, curves, strict=True) if not len(curve)]
    notes = [chart.note, f"Not recorded: {', '.join(without)}." if without else ""]
    return figure_html(chart.heading, overlay_chart(chart, curves), runs_legend_html(runs), " ".join(filter(None, notes)))


def architectures_html(runs: Sequence[Run]) -> str:
    """What was found by each run: drawn to one scale where it is a transformer, else as a table."""
    nets = [read_transformer(run.architecture, run.space) for run in runs]
    scale = min((scale_of(net) for net in nets if net is not None), default=None)
    blocks = []
    for run, net in zip(runs, nets, strict=True):
        if net is not None:
            shown = draw_transformer(net, scale)
        elif run.architecture:
            shown = table_html(
                ("choice", "found"), [(name, plain(found)) for name, found in run.architecture.items()], name="choices"
            )
        else:
            shown = f"<p class='state'>{escape(_no_architecture(run))}</p>"
        blocks.append(f"<figure><h3>{escape(run.name)}</h3>{shown}</figure>")
    intro = "<p>Widths are to one scale; dashed is the largest net of each space.</p>" if scale is not None else ""
    return section_html("Architectures", f'{intro}<div class="figures">{"".join(blocks)}</div>')


def _no_architecture(run: Run) -> str:
    return state_of(run) or "This run trained one net: it searched for no architecture."
