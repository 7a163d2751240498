"""Searches that train low-rank adapters alone: what they write, how they go on, and that a stock model leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from accelerate import Accelerator
from knotwork_search import RunFolder, Search, SearchData, SearchSettings
from knotwork_spaces import adapted
from knotwork_spaces.vit import ViTSpace, ViTSupernet, plain_model
from knotwork_tasks import SavedRun
from safetensors.torch import load_file
from transformers import GPT2LMHeadModel

from .conftest import Main


@pytest.fixture(scope="module")
def adapters_run(search_gpt: Main, tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("lora") / "run"
    assert search_gpt([*tiny, "--output-dir", str(run), "--lora-rank", "4"]) == 0
    return run


def test_transformers_loads_the_merged_model(adapters_run: Path):
    outcome = json.loads((adapters_run / "architecture.json").read_text())
    loaded: Any = GPT2LMHeadModel.from_pretrained(adapters_run / "model", output_loading_info=True)
    model, problems = loaded
    assert not any(problems.values())
    assert sum(p.numel() for p in model.parameters()) == outcome["cost"]["params"] <= outcome["budget"]["params"]


def test_checkpoints_hold_adapters_and_the_weights_are_written_once(adapters_run: Path):
    assert yaml.safe_load((adapters_run / "config.yaml").read_text())["lora_rank"] == 4
    tensors = load_file(adapters_run / "checkpoints" / "step-00000006" / "tensors.safetensors")
    assert {name.split(".")[-3] for name in tensors if name.startswith("supernet.")} == {"lora_A", "lora_B"}
    assert not any("lora_" in name for name in load_file(adapters_run / "checkpoints" / "frozen.safetensors"))


def test_the_run_is_read_again(adapters_run: Path):
    run = SavedRun(adapters_run)
    written = load_file(adapters_run / "model" / "model.safetensors")
    again = run.supernet.extract(run.found).state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in written.items())


def test_a_network_of_cells_has_nothing_to_adapt(search_vit: Main, tmp_path: Path, capsys):
    assert search_vit(["--output-dir", str(tmp_path / "run"), "--space", "toy-cell", "--lora-rank", "2"]) == 2
    assert "has no linear maps to adapt" in capsys.readouterr().err


SPACE = ViTSpace.build(
    embed_dim=[8, 16], depth=[1, 2], num_heads=[1, 2], mlp_ratio=[1, 2], image_size=8, patch_size=4, channels=1, num_classes=3
)


def vit_search(folder: Path, seed: int, steps: int = 4) -> Search:
    torch.manual_seed(seed)
    supernet = adapted(ViTSupernet(SPACE), 2)
    generator = torch.Generator().manual_seed(0)
    items: list[dict[str, Any]] = [
        {"image": torch.randn(1, 8, 8, generator=generator), "label": torch.tensor(i % 3)} for i in range(24)
    ]
    settings = SearchSettings(
        max_steps=4, batch_size=4, fair_share=0.25, candidates=2, finetune_steps=2, evaluation_batches=2, checkpoint_every=2
    )
    search = Search(
        supernet, SearchData(items[:16], items[16:]), settings, accelerator=Accelerator(cpu=True), run=RunFolder(folder)
    )
    return search


def test_a_vit_search_trains_adapters_and_classifier_resumes_and_leaves_a_timm_model(tmp_path: Path):
    whole = vit_search(tmp_path / "whole", seed=0)
    before = {name: parameter.detach().clone() for name, parameter in whole.supernet.named_parameters()}
    found = whole.run().architecture
    after = dict(whole.supernet.named_parameters())
    changed = {name for name, parameter in after.items() if not torch.equal(parameter, before[name])}
    assert changed == {name for name in after if ".lora_" in name or name.startswith("head.")}

    checkpoints = tmp_path / "whole" / "checkpoints"
    for file in (checkpoints / "step-00000004").iterdir():
        file.unlink()
    (checkpoints / "step-00000004").rmdir()
    resumed = vit_search(tmp_path / "whole", seed=1)
    resumed.load()
    assert resumed.step == 2
    resumed.train()
    assert all(torch.equal(parameter, after[name]) for name, parameter in resumed.supernet.named_parameters())
    assert all(torch.equal(alpha, whole.alphas[name]) for name, alpha in resumed.alphas.items())

    model, image = plain_model(SPACE, found), torch.randn(2, 1, 8, 8)
    model.load_state_dict(whole.supernet.extract(found).state_dict())
    supernet: Any = whole.supernet.train(False)
    torch.testing.assert_close(model.eval()(image), supernet.logits(image, found), atol=1e-5, rtol=1e-5)
