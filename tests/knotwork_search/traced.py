"""A search that notes what it did, so that one split over processes or batches can be held against another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from knotwork_ops import Architecture, HardSample, Selection
from knotwork_search import Recorder, RunFolder, Search, SearchData, SearchSettings
from rich.console import Console
from torch import Tensor

from .toy import PER_LAYER, Toy, numbered

STEPS = 20
STEP_ITEMS = 8
"""In the batch of a step, however it is split."""
LIMIT = 285.0
"""In parameters; several architectures use nearly all of it."""

Trace = dict[str, Any]
"""JSON: the ``losses`` of the steps, the ``runs`` of the supernet, the ``tensors`` at the end and the ``ranked`` candidates."""


class Watched(Toy):
    """Notes what it is asked to run."""

    def __init__(self) -> None:
        super().__init__(PER_LAYER)
        self.runs: list[Any] = []

    def forward(self, x: Tensor, arch: Selection) -> Tensor:
        self.runs.append(told(arch))
        return super().forward(x, arch)


def told(arch: Selection) -> Any:
    """A selection as JSON, to the last bit."""
    if isinstance(arch, Architecture):
        return arch.as_dict()
    if isinstance(arch, HardSample):
        return {"sliced": arch.architecture.as_dict(), "factors": plain(arch.factors)}
    return plain(dict(arch.items()))


def plain(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    return {name: tensor.detach().tolist() for name, tensor in tensors.items()}


class Losses(Recorder):
    """Keeps every step's losses, in every process."""

    def __init__(self, path: Path, accelerator: Accelerator) -> None:
        super().__init__(path, STEPS, accelerator, console=Console(quiet=True), timed=False)
        self.losses: list[tuple[int, str, float]] = []

    def record(self, step: int, split: str, values: Mapping[str, Any]) -> None:
        self.losses.append((step, split, float(values["loss"])))
        super().record(step, split, values)


def traced(
    name: str, accelerator: Accelerator, folder: Path, accumulation: int = 1, *, sharded: bool = False, resumes: bool = False
) -> Trace:
    """Search with a strategy, in float64, where rounding errors stay far from what is to be seen.

    Args:
        name: of the strategy.
        accelerator: whose processes each take their part of a step's items.
        folder: for the run.
        accumulation: batches that each process splits its part into.
        sharded: whether the processes share out the weights.
        resumes: whether it goes on from the folder's newest checkpoint.
    """
    settings = SearchSettings(
        strategy=name,
        max_steps=STEPS,
        batch_size=STEP_ITEMS // accelerator.num_processes // accumulation,
        gradient_accumulation=accumulation,
        fair_share=0.25,
        limits={"params": LIMIT},
        candidates=3,
        evaluations=8,
        finetune_steps=3,
        evaluation_batches=2,
        incumbent_every=5,
        checkpoint_every=STEPS // 2,
    )
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        run, toy = RunFolder(folder), Watched()
        recorder = Losses(run.metrics, accelerator)
        if accelerator.is_main_process and not resumes:
            with run.create({}, toy.space.as_dict()):
                pass
        data = SearchData(weight=numbered(40), architecture=numbered(24, 1000))
        search = Search(toy, data, settings, accelerator=accelerator, run=run, recorder=recorder, shard_weights=sharded)
        if resumes:
            search.load()
        result = search.run()
        recorder.flush()
    finally:
        torch.set_default_dtype(before)
    # Those that were not fine-tuned have but one loss.
    ranked = [
        [told(entry.candidate.architecture), *filter(None, (entry.loss, entry.finetuned_loss))] for entry in result.ranked
    ]
    tensors = plain(dict(toy.named_parameters())) | {f"alphas.{key}": value for key, value in plain(search.alphas).items()}
    return {"losses": [list(entry) for entry in recorder.losses], "runs": toy.runs, "tensors": tensors, "ranked": ranked}
