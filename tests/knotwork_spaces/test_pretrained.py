"""A checkpoint becomes the largest architecture of a space: its logits are the supernet's, and nothing is left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from knotwork_export import Preprocessing, export_classifier
from knotwork_spaces import family, load_pretrained, load_space, space_definition
from knotwork_spaces.vit import ViTSupernet
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from .comparison import assert_close
from .llama_cases import exact_norms, spread_llama, tiny_llama
from .vit_cases import spread, tiny_vit

SHARES = {"embed_dim": [0.5, 1.0], "depth": [0.5, 1.0], "num_heads": [1.0], "mlp_ratio": [0.5, 1.0]}
WEIGHTS = "model.safetensors"


def definition(kind: str = "gpt2", **changes: Any) -> Any:
    return space_definition({"family": kind, **SHARES, **changes})


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=31, bos_token_id=None, eos_token_id=None, n_positions=12, n_embd=24, n_layer=3, n_head=2, n_inner=48
        )
    )
    spread(model)
    folder = tmp_path_factory.mktemp("checkpoint") / "gpt2"
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    space = tiny_vit(num_classes=3, num_heads=[1, 2], mlp_ratio=[1, 4])
    torch.manual_seed(0)
    supernet = ViTSupernet(space).eval()
    spread(supernet)
    preprocessing = Preprocessing(("a", "b", "c"), (3, 6, 6), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), crop_pct=0.9)
    inputs = torch.randn(2, 3, 6, 6)
    with torch.no_grad():
        return export_classifier(
            supernet.extract(space.largest),
            tmp_path_factory.mktemp("checkpoint") / "vit",
            timm_model=space.timm_model(space.largest),
            preprocessing=preprocessing,
            reference_images=inputs,
            reference_logits=supernet.logits(inputs, space.largest),
        )


def test_the_largest_architecture_has_the_checkpoints_own_logits(gpt2: Path):
    plain = GPT2LMHeadModel.from_pretrained(gpt2).double().eval()
    around, checkpoint = load_pretrained(definition(), str(gpt2))
    space: Any = around.build()
    supernet = family("gpt2").supernet(space, checkpoint.model).double().eval()
    ids = torch.randint(31, (2, 12))
    assert_close(supernet.logits(ids, space.largest), plain(ids).logits, "logits")
    assert {k: v.shape for k, v in supernet.state_dict().items()} == {k: v.shape for k, v in plain.state_dict().items()}
    assert all(torch.equal(tensor, plain.state_dict()[name]) for name, tensor in supernet.state_dict().items())


def test_shares_of_a_checkpoint_become_options(gpt2: Path):
    around, _ = load_pretrained(definition(depth=[0.5, 1.0], dropout=0.1), str(gpt2))
    assert around.options == {"embed_dim": [12, 24], "depth": [2, 3], "num_heads": [2], "mlp_ratio": [1, 2]}
    assert around.settings == {"dropout": 0.1, "vocab_size": 31, "block_size": 12}


def test_absolute_options_that_end_with_the_checkpoints(gpt2: Path):
    options = {"embed_dim": [8, 24], "depth": [1, 3], "num_heads": [1, 2], "mlp_ratio": [0.5, 2]}
    around, _ = load_pretrained(definition(**options), str(gpt2))
    assert around.options == options
    for name, values in (("embed_dim", [8, 16]), ("depth", [1, 4]), ("mlp_ratio", [2, 3])):
        with pytest.raises(ValueError, match=rf"largest option of '{name}' is {values[-1]}, but the checkpoint has"):
            load_pretrained(definition(**{**options, name: values}), str(gpt2))


def test_presets_are_around_a_checkpoint(gpt2: Path, vit: Path):
    for name, folder in (("gpt2-pretrained", gpt2), ("vit-pretrained", vit)):
        preset = load_space(name)
        assert preset.relative
        around, _ = load_pretrained(preset, str(folder))
        assert around.build()
        with pytest.raises(ValueError, match="shares of a checkpoint's: name one with --init-from"):
            preset.build()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embed_dim": [0.3, 1.0]}, "embed_dim 0.3 of the checkpoint's 24 is 7.2"),
        ({"embed_dim": [0.25, 0.5]}, "largest option of 'embed_dim' is 0.5, but the checkpoint has 24"),
        ({"num_heads": [1, 2]}, "largest option of 'num_heads' is 2, but the checkpoint has 2"),
        ({"block_size": 13}, "block_size is 13, but .* has 12 positions"),
    ],
)
def test_options_that_do_not_fit(gpt2: Path, changes: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        load_pretrained(definition(**changes), str(gpt2))


def test_a_shorter_block_keeps_the_first_positions(gpt2: Path):
    plain = GPT2LMHeadModel.from_pretrained(gpt2).double().eval()
    around, checkpoint = load_pretrained(definition(), str(gpt2), block_size=5)
    space: Any = around.build()
    supernet = family("gpt2").supernet(space, checkpoint.model).double().eval()
    ids = torch.randint(31, (2, 5))
    assert space.block_size == 5
    assert_close(supernet.logits(ids, space.largest), plain(ids).logits, "logits")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("transformer.h.1.ln_1.weight"), "missing weights: transformer.h.1.ln_1.weight"),
        (lambda w: w.update({"transformer.extra": torch.zeros(3)}), "unexpected weights: transformer.extra"),
        (lambda w: w.update({"transformer.wte.weight": torch.zeros(30, 24)}), "mismatched weights: transformer.wte.weight"),
    ],
    ids=["missing", "unexpected", "misshapen"],
)
def test_weights_must_be_all_there_and_none_besides(gpt2: Path, tmp_path: Path, change: Any, message: str):
    weights = load_file(gpt2 / WEIGHTS)
    change(weights)
    save_file(weights, tmp_path / WEIGHTS, metadata={"format": "pt"})
    (tmp_path / "config.json").write_bytes((gpt2 / "config.json").read_bytes())
    with pytest.raises(ValueError, match=message):
        load_pretrained(definition(), str(tmp_path))


def test_another_kind_of_model_is_refused(tmp_path: Path):
    config = LlamaConfig(vocab_size=31, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="a model of the type 'llama', not 'gpt2'"):
        load_pretrained(definition(), str(tmp_path))


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen3"])
def test_llamas_have_the_checkpoints_own_logits(kind: str, tmp_path: Path):
    space = tiny_llama(model_type=kind, tie_word_embeddings=kind != "mistral", rope_theta=500.0)
    spread_llama(space).float().extract(space.largest).save_pretrained(tmp_path)
    plain: Any = AutoModelForCausalLM.from_pretrained(tmp_path).double().eval()
    around, checkpoint = load_pretrained(load_space("llama-pretrained"), str(tmp_path), block_size=5)
    found: Any = around.build()
    assert (found.model_type, found.block_size, found.rope_theta) == (kind, 5, 500.0)
    assert around.options["embed_dim"] == [12, 18, 24]
    supernet = family("llama").supernet(found, checkpoint.model).double().eval()
    ids = torch.randint(13, (2, 5))
    with exact_norms():
        assert_close(supernet.logits(ids, found.largest), plain(ids).logits, "logits")
    with pytest.raises(ValueError, match=r"block_size is 8, but .* takes 7 positions"):
        load_pretrained(load_space("llama-pretrained"), str(tmp_path), block_size=8)


def test_pickled_weights_are_not_read(gpt2: Path, tmp_path: Path):
    torch.save(load_file(gpt2 / WEIGHTS), tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_bytes((gpt2 / "config.json").read_bytes())
    with pytest.raises(ValueError, match="could be loaded"):
        load_pretrained(definition(), str(tmp_path))


def test_what_a_supernet_does_not_compute_is_refused(gpt2: Path, tmp_path: Path):
    config = json.loads((gpt2 / "config.json").read_text()) | {"activation_function": "relu"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / WEIGHTS).write_bytes((gpt2 / WEIGHTS).read_bytes())
    around, checkpoint = load_pretrained(definition(), str(tmp_path))
    with pytest.raises(ValueError, match="activation_function 'relu'"):
        family("gpt2").supernet(around.build(), checkpoint.model)


def test_a_folder_that_is_not_there(tmp_path: Path):
    for kind in ("gpt2", "vit"):
        with pytest.raises(ValueError, match="could be loaded from"):
            load_pretrained(definition(kind), str(tmp_path / "nothing"))
    with pytest.raises(ValueError, match="no upstream library has checkpoints of the family 'toy-cell'"):
        load_pretrained(load_space("toy-cell"), str(tmp_path))


def test_the_largest_vit_has_the_checkpoints_own_logits(vit: Path):
    plain = timm.create_model(f"local-dir:{vit}", pretrained=True).double().eval()
    around, checkpoint = load_pretrained(definition("vit"), str(vit))
    space: Any = around.build()
    supernet = family("vit").supernet(space, checkpoint.model).double().eval()
    images = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    assert_close(supernet.logits(images, space.largest), plain(images), "logits")
    assert around.options == {"embed_dim": [12, 24], "depth": [2, 3], "num_heads": [2], "mlp_ratio": [2, 4]}
    assert checkpoint.preparation["crop_pct"] == 0.9
    assert tuple(checkpoint.preparation["mean"]) == (0.1, 0.2, 0.3)


def test_a_vit_for_other_images_and_classes_is_adapted_by_timm(vit: Path):
    around, checkpoint = load_pretrained(definition("vit"), str(vit), channels=1, image_size=9, num_classes=5)
    space: Any = around.build()
    supernet = family("vit").supernet(space, checkpoint.model).eval()
    expected = timm.create_model(f"local-dir:{vit}", pretrained=True, in_chans=1, img_size=9, num_classes=5).state_dict()
    found = supernet.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected if not name.startswith("head."))
    assert supernet.logits(torch.randn(2, 1, 9, 9), space.smallest).shape == (2, 5)


def test_vit_weights_must_be_all_there(vit: Path, tmp_path: Path):
    weights = load_file(vit / WEIGHTS)
    weights.pop("blocks.1.norm1.weight")
    save_file(weights, tmp_path / WEIGHTS)
    (tmp_path / "config.json").write_bytes((vit / "config.json").read_bytes())
    with pytest.raises(ValueError, match=r"blocks.1.norm1.weight"):
        load_pretrained(definition("vit"), str(tmp_path))
