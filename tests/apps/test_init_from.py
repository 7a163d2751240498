"""A search that starts from a checkpoint, by the apps end to end."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import yaml
from knotwork_search import Search, SearchSettings
from knotwork_tasks.text import load_text, load_tokenizer
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from .conftest import Main


@pytest.fixture(scope="module")
def checkpoint(text_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT-2 with a tokenizer of its own."""
    folder = tmp_path_factory.mktemp("checkpoint") / "gpt2"
    tokenizer = load_tokenizer("train:260", load_text(str(text_file)).train)
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(tokenizer), n_positions=16, n_embd=16, n_layer=3, n_head=2, n_inner=32)
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def flags(checkpoint: Path, text: Path, run: Path) -> list[str]:
    given = {"init-from": checkpoint, "dataset": text, "output-dir": run, "max-steps": 4, "batch-size": 4, "candidates": 2}
    return [word for name, value in given.items() for word in (f"--{name}", str(value))] + ["--finetune-steps", "0"]


def test_a_search_from_a_checkpoint_goes_on_without_it(
    search_gpt: Main, checkpoint: Path, text_file: Path, tmp_path: Path, monkeypatch
):
    copy, run = tmp_path / "copy", tmp_path / "run"
    shutil.copytree(checkpoint, copy)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("knotwork_tasks._search.SearchSettings", partial(SearchSettings, checkpoint_every=2))
    monkeypatch.setattr(Search, "choose", interrupted)
    assert search_gpt(flags(copy, text_file, run)) == 130
    monkeypatch.undo()
    shutil.rmtree(copy)
    assert search_gpt(["--output-dir", str(run), "--resume"]) == 0
    config, space = (yaml.safe_load((run / name).read_text()) for name in ("config.yaml", "space.json"))
    assert (config["space"], config["tokenizer"], config["order"]) == ("gpt2-pretrained", str(copy), "activation")
    assert space["choices"]["embed_dim"]["options"] == [8, 12, 16]
    assert sorted(space["layer_order"]) == [0, 1, 2]
    model: Any = AutoModelForCausalLM.from_pretrained(run / "model")
    found = json.loads((run / "architecture.json").read_text())
    assert type(model) is GPT2LMHeadModel
    assert sum(p.numel() for p in model.parameters()) == found["cost"]["params"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--init-from", "no/such/folder"], "no/such/folder"),
        (["--space", "gpt-nano"], "block_size is 128, but"),
        (["--space", "gpt-nano", "--block-size", "16"], "the largest option of 'embed_dim' is 128, but the checkpoint has 16"),
        (["--order", "luck"], "unknown order 'luck'"),
        (["--tokenizer", "train:400"], "vocab_size 260 is smaller than the tokenizer's"),
    ],
    ids=lambda value: value[0].strip("-") if isinstance(value, list) else "",
)
def test_what_does_not_fit(
    search_gpt: Main, checkpoint: Path, text_file: Path, tmp_path: Path, capsys, change: list[str], message: str
):
    run = tmp_path / "run"
    assert search_gpt([*flags(checkpoint, text_file, run), *change]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not run.exists()


def test_shares_need_a_checkpoint(search_gpt: Main, text_file: Path, tmp_path: Path, capsys):
    run = str(tmp_path / "run")
    assert search_gpt(["--space", "gpt2-pretrained", "--dataset", str(text_file), "--output-dir", run]) == 2
    assert "name one with --init-from" in capsys.readouterr().err


@pytest.mark.slow
def test_a_vit_from_a_checkpoint(search_vit: Main, tmp_path: Path):
    """Of other images and classes: timm adapts it, and its own preprocessing stays."""
    folder, run = tmp_path / "vit", tmp_path / "run"
    sizes = {"img_size": 8, "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2, "mlp_ratio": 2.0, "in_chans": 1}
    model: Any = timm.create_model("vit_tiny_patch16_224", num_classes=4, **sizes)
    preparation = {"input_size": (1, 8, 8), "mean": (0.25,), "std": (0.75,), "crop_pct": 0.9}
    model.pretrained_cfg = {**model.pretrained_cfg, **preparation}
    timm.models.save_for_hf(model, str(folder), model_args=sizes, safe_serialization=True)
    given = {"init-from": folder, "output-dir": run, "max-steps": 4, "batch-size": 8, "candidates": 2, "finetune-steps": 0}
    assert search_vit([word for name, value in given.items() for word in (f"--{name}", str(value))]) == 0
    exported = json.loads((run / "model" / "config.json").read_text())["pretrained_cfg"]
    assert (exported["mean"], exported["crop_pct"]) == ([0.25], 0.9)
    loaded = timm.create_model(f"local-dir:{run / 'model'}", pretrained=True)
    assert loaded(torch.randn(1, 1, 8, 8)).shape == (1, 10)
