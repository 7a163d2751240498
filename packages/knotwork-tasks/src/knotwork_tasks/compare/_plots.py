"""The pictures of a comparison: anytime curves, the front of found nets, and ranks."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from knotwork_search import write_atomically
from matplotlib.figure import Figure

from knotwork_tasks.compare._outcome import Outcome


def write_plots(path: Path, outcomes: Sequence[Outcome], ranked: Sequence[float]) -> None:
    """Write one SVG of three panels.

    Args:
        path: the file.
        outcomes: of the comparison.
        ranked: stand-alone losses of the random architectures, in the order of the outcomes' ``ranks``.
    """
    figure = Figure(figsize=(15, 4.6), layout="constrained")
    anytime, front, ranks = figure.subplots(1, 3)
    known = any(outcome.regret is not None for outcome in outcomes)
    for number, name in enumerate(dict.fromkeys(outcome.strategy for outcome in outcomes)):
        colour = f"C{number % 10}"
        own = [outcome for outcome in outcomes if outcome.strategy == name]
        for place, outcome in enumerate(own):
            label = name if place == 0 else None
            if outcome.curve:
                flops, losses = zip(*outcome.curve, strict=True)
                anytime.step(flops, losses, where="post", color=colour, label=label, alpha=0.8, marker=".", markersize=3)
            if outcome.ranks:
                ranks.scatter(outcome.ranks, ranked, color=colour, label=label, s=12, alpha=0.7)
        front.scatter([o.params for o in own], [o.alone for o in own], color=colour, label=name, s=24)
    alone = "error from the benchmark, %" if known else "loss, trained from scratch"
    anytime.set(
        xlabel="FLOPs spent",
        ylabel="regret, points" if known else "inherited loss, architecture split",
        title="the best architecture so far",
    )
    front.set(xlabel="parameters", ylabel=alone, title="found architectures")
    ranks.set(xlabel="inherited loss", ylabel=alone, title="random architectures")
    for axes in (anytime, front, ranks):
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize="small")
    drawn = BytesIO()
    figure.savefig(drawn, format="svg", metadata={"Date": None})
    write_atomically(path, drawn.getvalue().decode())
