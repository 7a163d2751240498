"""A supernet some of whose weights are frozen: they stay, have no optimiser state, and are written once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from knotwork_search import RunFolder, Search, load_checkpoint
from knotwork_search._compute import CountedSupernet
from safetensors.torch import load_file

from .test_compute import seen_by_torch
from .test_loop import StoppedError, data, everything, few_steps, stop_after
from .toy import PER_LAYER, Toy, one_batch, random_mixture, same, weights_of

TRAINED = ("up", "head")
"""Parts of the toy that are trained here; the first of its parameters is not."""


def partly_frozen(seed: int = 0) -> Toy:
    toy = Toy(dropout=0.2, seed=seed).requires_grad_(False)
    for name in TRAINED:
        toy.get_submodule(name).requires_grad_(True)
    return toy


def trained_names(prefix: str = "") -> set[str]:
    return {prefix + name for name, parameter in partly_frozen().named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("name", ["drnas", "darts-2nd", "gdas", "sandwich-rs"])
def test_only_the_rest_is_trained(accelerator: Accelerator, name: str):
    toy = partly_frozen()
    before = weights_of(toy)
    search = Search(toy, data(), few_steps(name), accelerator=accelerator)
    search.run()
    after = weights_of(toy)
    assert {key for key in before if not torch.equal(before[key], after[key])} == trained_names()
    assert {key for key, parameter in toy.named_parameters() if parameter.requires_grad} == trained_names()
    assert len(search.weight_optimiser.state_dict()["state"]) == len(trained_names())


def test_a_resumed_search_gets_the_frozen_weights_back(accelerator: Accelerator, tmp_path: Path, monkeypatch):
    settings = few_steps("drnas")
    whole = Search(partly_frozen(), data(), settings, accelerator=accelerator, run=RunFolder(tmp_path / "whole"))
    whole.train()
    stopped = Search(partly_frozen(), data(), settings, accelerator=accelerator, run=RunFolder(tmp_path / "stopped"))
    stop_after(stopped, 8, monkeypatch)
    with pytest.raises(StoppedError):
        stopped.train()
    resumed = Search(partly_frozen(seed=99), data(), settings, accelerator=accelerator, run=RunFolder(tmp_path / "stopped"))
    resumed.load()
    resumed.train()
    assert same(everything(resumed), everything(whole))
    assert resumed.choose().architecture == whole.choose().architecture


def test_they_are_written_once(accelerator: Accelerator, tmp_path: Path):
    run = RunFolder(tmp_path)
    toy = partly_frozen()
    Search(toy, data(), few_steps("drnas"), accelerator=accelerator, run=run).train()
    names = {path.name for path in run.checkpoints.iterdir()}
    assert names == {"frozen.safetensors", "step-00000008", "step-00000012"}
    weights = {f"supernet.{name}" for name, _ in toy.named_parameters()}
    frozen, step = (load_file(run.checkpoints / n) for n in ("frozen.safetensors", "step-00000012/tensors.safetensors"))
    assert step.keys() & weights == trained_names("supernet.")
    assert frozen.keys() == weights - step.keys()
    tensors, _ = load_checkpoint(run.checkpoints)
    assert same(tensors, frozen | step)
    (run.checkpoints / "frozen.safetensors").write_bytes(b"half")
    with pytest.raises(ValueError, match=r"frozen\.safetensors, which all checkpoints beside it need, cannot be read"):
        load_checkpoint(run.checkpoints)


def test_passes_are_counted_as_they_are():
    toy, batch, mixture = partly_frozen(), one_batch(7), random_mixture(PER_LAYER, 0)
    net = CountedSupernet(toy, one_batch(1), mixtures=True)
    wanted = seen_by_torch(lambda: toy.loss(batch, mixture).backward())
    net.loss(batch, mixture)
    assert net.flops == pytest.approx(wanted, rel=1e-9)
    assert wanted < seen_by_torch(lambda: Toy().loss(batch, mixture).backward())
