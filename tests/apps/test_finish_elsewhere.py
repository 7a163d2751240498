"""Exported folders go on in the trainers that others wrote: transformers' Trainer, and timm's train.py."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import timm
import timm.models
import timm.optim
import torch
from knotwork_export import Preprocessing, export, export_classifier
from knotwork_search import seeded
from knotwork_spaces.gpt2 import GPT2Space, plain_model
from knotwork_spaces.vit import ViTSpace
from knotwork_spaces.vit import plain_model as plain_vit
from knotwork_tasks.text import load_text, load_tokenizer
from timm.data.config import resolve_data_config
from transformers import AutoModelForCausalLM

optim: Any = timm.optim
README = Path(__file__).resolve().parents[2] / "README.md"


def test_transformers_trainer_takes_ten_steps_as_the_readme_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    (code,) = (block for block in re.findall(r"(?ms)^```py\n(.*?)^```$", README.read_text()) if "Trainer(" in block)
    assert "max_steps=10," in code
    tokenizer = load_tokenizer("train:280", load_text("python-stdlib").validation.take(2))
    options: dict[str, Any] = {"embed_dim": [16], "depth": [2], "num_heads": [2], "mlp_ratio": [2]}
    space = GPT2Space.build(**options, vocab_size=len(tokenizer), block_size=32, eos_token_id=tokenizer.eos_token_id)
    with seeded("model"):
        model = plain_model(space, space.smallest)
    folder = export(model, tmp_path / "runs" / "first" / "model", tokenizer=tokenizer, verify=False)
    before = AutoModelForCausalLM.from_pretrained(folder).state_dict()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    exec(compile(code, str(README), "exec"), {})
    assert "'train_loss'" in capsys.readouterr().out
    after = AutoModelForCausalLM.from_pretrained("runs/trainer/model").state_dict()
    assert before.keys() == after.keys()
    assert not any(value.equal(after[name]) for name, value in before.items() if value.dim() > 1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("per_layer", [False, True])
def test_timms_train_script_creates_the_model(tmp_path: Path, channels: int, per_layer: bool):
    """The calls of timm's train.py for ``--model local-dir:FOLDER --pretrained --in-chans N``, in both of its forms.

    The script itself is not part of timm's distributions, so it is not run.
    """
    options: dict[str, Any] = {"embed_dim": [16], "depth": [2], "num_heads": [1, 2], "mlp_ratio": [1, 2]}
    sizes: dict[str, Any] = {"image_size": 8, "patch_size": 4, "channels": channels, "num_classes": 3}
    space = ViTSpace.build(**options, **sizes, per_layer=["num_heads"] if per_layer else [])
    heads = [1, 2] if per_layer else 2
    architecture = space.architecture({"embed_dim": 16, "depth": 2, "num_heads": heads, "mlp_ratio": 2})
    model = plain_vit(space, architecture).eval()
    preprocessing = Preprocessing(("a", "b", "c"), (channels, 8, 8), (0.3,) * channels, (0.4,) * channels)
    described = space.timm_model(architecture)
    folder = export_classifier(model, tmp_path / "vit", timm_model=described, preprocessing=preprocessing, verify=False)
    name, images = f"local-dir:{folder}", torch.randn(2, channels, 8, 8)
    args: dict[str, Any] = {
        "model": name,
        "in_chans": channels,
        "img_size": None,
        "input_size": None,
        "mean": None,
        "std": None,
    }
    unset = dict.fromkeys(("num_classes", "drop_path_rate", "drop_block_rate", "global_pool", "bn_momentum", "bn_eps"))
    given: dict[str, Any] = {**unset, "pretrained": True, "drop_rate": 0.0, "scriptable": False, "checkpoint_path": ""}
    resolve = getattr(timm.models, "resolve_model_input_args", None)  # what the newer form calls, from timm 1.0.31
    forms = [{"model_name": name, "in_chans": channels}, *([resolve(name, args)] if resolve else [])]
    for created in (timm.create_model(**form, **given) for form in forms):
        with torch.no_grad():
            assert created.eval()(images).equal(model(images))
        settings = resolve_data_config(args, model=created)
        assert tuple(settings["input_size"]) == preprocessing.input_size
        assert tuple(settings["mean"]) == preprocessing.mean
        assert created.num_classes == 3
        optimiser = optim.create_optimizer_v2(created, opt="adamw", lr=0.01)
        torch.nn.functional.cross_entropy(created.train()(images), torch.tensor([0, 2])).backward()
        optimiser.step()
        assert not created.state_dict()["head.weight"].equal(model.state_dict()["head.weight"])
