"""A search in bfloat16 beside the same in float32."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from knotwork_ops import Mixture
from knotwork_search import Search, SearchSettings
from knotwork_search._checkpoint import optimiser_tensors
from torch import Tensor

from . import families

STEPS = 50
LOSS = 0.02
"""How far losses may lie apart, in nats, at every step. Measured: up to 0.006 for text, 0.013 for images."""
ALPHA, PROBABILITY = 0.15, 0.06
"""How far alphas, of which some moved by 0.4, and probabilities may lie apart at the end. Measured: up to 0.10 and 0.05."""


@pytest.fixture(autouse=True)
def fresh_accelerate() -> Iterator[None]:
    """Accelerate keeps its first settings for the process's life; each test is to choose its own."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def searched(family: str, precision: str, strategy: str, seed: int) -> tuple[Search, dict[str, list[float]]]:
    """A search of fifty steps, with the losses of its two kinds of step."""
    AcceleratorState._reset_state(reset_partial_state=True)
    rates: dict[str, Any] = {"learning_rate": 3e-3, "arch_learning_rate": 0.03}
    settings = SearchSettings(strategy=strategy, max_steps=STEPS, batch_size=8, fair_share=0.2, seed=seed, **rates)
    accelerator = Accelerator(cpu=True, mixed_precision=precision)
    search = Search(families.supernet(family, seed), families.data(family), settings, accelerator=accelerator)
    losses: dict[str, list[float]] = {"weight": [], "architecture": []}
    search.recorder.record = lambda step, split, values: losses[split].append(float(values["loss"]))
    search.train()
    return search, losses


@pytest.mark.parametrize("family", list(families.FAMILIES))
@pytest.mark.parametrize(
    ("strategy", "seed"),
    [("drnas", 0), *(pytest.param(*case, marks=pytest.mark.slow) for case in [("drnas", 1), ("gdas", 0), ("gdas", 1)])],
)
def test_fifty_steps_stay_close_to_float32(family: str, strategy: str, seed: int):
    (exact, expected), (search, losses) = (searched(family, precision, strategy, seed) for precision in ("no", "bf16"))
    assert len(losses["weight"]) == STEPS
    assert len(losses["architecture"]) == STEPS - exact.fair_steps
    assert losses != expected
    assert expected["weight"][0] - expected["weight"][-1] > 4 * LOSS
    for split, values in expected.items():
        assert losses[split] == pytest.approx(values, abs=LOSS)
    for name, alpha in exact.alphas.items():
        assert float((search.alphas[name] - alpha).detach().abs().max()) < ALPHA
        assert float((search.probabilities()[name] - exact.probabilities()[name]).abs().max()) < PROBABILITY
    assert max(float(alpha.detach().abs().max()) for alpha in exact.alphas.values()) > 0.4
    kept: dict[str, Tensor] = {f"alpha {name}": alpha for name, alpha in search.alphas.items()}
    kept |= optimiser_tensors("architecture_optimiser", search.architecture_optimiser)
    kept |= {**optimiser_tensors("weight_optimiser", search.weight_optimiser), **dict(search.supernet.named_parameters())}
    assert {tensor.dtype for tensor in kept.values() if tensor.is_floating_point()} == {torch.float32}


@pytest.mark.parametrize("strategy", ["drnas", "darts", "darts-2nd", "gdas"])
def test_what_a_strategy_draws_and_the_gradients_stay_in_float32(strategy: str, monkeypatch: pytest.MonkeyPatch):
    """Strategies sample under autocast, as the loss that uses the sample is computed."""
    accelerator = Accelerator(cpu=True, mixed_precision="bf16")
    settings = SearchSettings(strategy=strategy, max_steps=2, batch_size=4, fair_share=0.0)
    search = Search(families.supernet("gpt2"), families.data("gpt2"), settings, accelerator=accelerator)
    drawn: set[tuple[torch.dtype, bool]] = set()
    gradients: set[torch.dtype] = set()
    sample, step = search.strategy.sample, search.architecture_optimiser.step

    def noted(*arguments: Any) -> Any:
        selection = sample(*arguments)
        weights = selection if isinstance(selection, Mixture) else selection.factors
        drawn.update((weight.dtype, torch.is_autocast_enabled("cpu")) for weight in weights.values())
        return selection

    def stepped(*arguments: Any) -> None:
        gradients.update(alpha.grad.dtype for alpha in search.alphas.values() if alpha.grad is not None)
        step(*arguments)

    monkeypatch.setattr(search.strategy, "sample", noted)
    monkeypatch.setattr(search.architecture_optimiser, "step", stepped)
    search.train()
    assert (torch.float32, True) in drawn
    assert {dtype for dtype, _ in drawn} == gradients == {torch.float32}
