"""fp16 with a loss scale: accelerate scales on GPUs alone, so its accelerator is given torch's scaler for CPUs here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from knotwork_search import DivergedError, RunFolder, Search, Training, TrainSettings

from .test_loop import data, everything, few_steps
from .test_non_finite import poisoned
from .toy import PER_LAYER, Toy, numbered

FP16 = Callable[[float], Accelerator]
ROOMY = 2.0**6
"""A scale under which no gradient of the toy overflows or vanishes."""


@pytest.fixture
def fp16() -> Iterator[FP16]:
    """An accelerator as accelerate makes it for a GPU, with a first loss scale."""

    def accelerator(scale: float) -> Accelerator:
        AcceleratorState._reset_state(reset_partial_state=True)
        made = Accelerator(cpu=True, mixed_precision="fp16")
        made.native_amp, made.scaler = True, torch.amp.GradScaler("cpu", init_scale=scale)
        return made

    yield accelerator
    AcceleratorState._reset_state(reset_partial_state=True)


def searched(accelerator: Accelerator, **changes: Any) -> Search:
    search = Search(Toy(), data(), few_steps("drnas", **changes), accelerator=accelerator)
    search.train()
    return search


def test_the_loss_scale_changes_nothing_but_what_overflows(fp16: FP16):
    """Clipping, penalties and steps see the gradients themselves, whatever the scale: fewer than all would be far off."""
    first, second = (everything(searched(fp16(scale))) for scale in (ROOMY, ROOMY / 8))
    AcceleratorState._reset_state(reset_partial_state=True)
    exact = everything(searched(Accelerator(cpu=True)))
    start = {name: parameter.detach() for name, parameter in Toy().named_parameters()}
    for name, tensor in exact.items():
        assert tensor.dtype == first[name].dtype == torch.float32
        moved = (tensor - start[name]).abs().max() if name in start else tensor.abs().max()
        assert (first[name] - second[name]).abs().max() < 0.1 * moved
        assert (first[name] - tensor).abs().max() < 0.3 * moved


def test_a_step_that_overflows_is_left_out_and_the_scale_halved(fp16: FP16):
    toy, accelerator = Toy(), fp16(ROOMY)
    search = Search(toy, data(), few_steps("drnas", fair_share=1.0, max_steps=5), accelerator=accelerator)
    seen, step = [], search._weight_step
    toy.head.weight.register_hook(lambda gradient: gradient * (math.inf if search.step == 2 else 1))

    def noted(number: int, batches: Any) -> Any:
        before = toy.head.weight.detach().clone()
        loss = step(number, batches)
        seen.append((torch.equal(toy.head.weight, before), accelerator.scaler.get_scale()))  # type: ignore[union-attr]
        return loss

    vars(search)["_weight_step"] = noted
    search.train()
    assert seen == [(False, ROOMY), (False, ROOMY), (True, ROOMY / 2), (False, ROOMY / 2), (False, ROOMY / 2)]
    assert search.non_finite.total == 0


@pytest.mark.parametrize("fair", [1.0, 0.34])
def test_a_loss_that_is_not_finite_is_skipped_and_the_next_step_taken(fp16: FP16, fair: float, monkeypatch: pytest.MonkeyPatch):
    toy, accelerator = Toy(), fp16(ROOMY)
    search = Search(toy, data(), few_steps("drnas", fair_share=fair), accelerator=accelerator)
    poisoned(toy, {2, 3, 7}, monkeypatch)
    search.train()
    assert search.step == 12
    assert search.non_finite.total == 3
    assert accelerator.scaler is not None
    assert accelerator.scaler.get_scale() == ROOMY  # the scale is not to blame
    assert all(bool(tensor.isfinite().all()) for tensor in everything(search).values())


def test_gradients_that_overflow_at_any_scale_end_the_run(fp16: FP16):
    toy = Toy()
    toy.head.weight.register_hook(lambda gradient: gradient * math.nan)
    settings = few_steps("drnas", fair_share=1.0, max_steps=40)
    with pytest.raises(DivergedError, match="in 10 steps in a row, up to step 16: the forward pass gives finite numbers"):
        Search(toy, data(), settings, accelerator=fp16(ROOMY)).train()
    model = torch.nn.Linear(3, 1)
    model.weight.register_hook(lambda gradient: gradient * math.nan)
    training = Training(model, lambda b: model(b["x"]).square().mean(), numbered(8), TrainSettings(40, 4, 0.1), fp16(ROOMY))
    with pytest.raises(DivergedError, match="in 10 steps in a row, up to step 16"):
        training.run()


def test_the_scale_is_kept_in_checkpoints(fp16: FP16, tmp_path: Any):
    run = RunFolder(tmp_path)
    search = Search(Toy(PER_LAYER), data(), few_steps("drnas"), accelerator=fp16(ROOMY), run=run)
    search.train()
    other = fp16(2.0)
    resumed = Search(Toy(PER_LAYER), data(), search.settings, accelerator=other, run=run)
    resumed.load()
    assert other.scaler is not None
    assert other.scaler.get_scale() == ROOMY


def test_gradients_that_the_scale_does_not_reach_are_refused(fp16: FP16):
    with pytest.raises(ValueError, match="darts-2nd takes gradients that fp16's loss scale does not reach"):
        Search(Toy(), data(), few_steps("darts-2nd"), accelerator=fp16(ROOMY))
