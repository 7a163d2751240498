"""Folders as export leaves them, and that nothing is left where it fails. The verified exports come from the fixture."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from knotwork_export import ExportError, _code, export
from knotwork_export._causal_lm import CODE_MAY_IMPORT, CausalLM
from knotwork_spaces.gpt2 import GPT2Supernet
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedTokenizerFast

FILES = {
    "README.md",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
}
CODE = "modeling_per_layer_gpt2.py"


def loaded(case: Any) -> Any:
    return AutoModelForCausalLM.from_pretrained(case.folder, **({"trust_remote_code": True} if case.custom_code else {})).eval()


def test_folder_holds_these_files_and_no_others(case):
    assert {path.name for path in case.folder.iterdir()} == FILES | ({CODE} if case.custom_code else set())
    assert all(path.is_file() and not path.is_symlink() for path in case.folder.iterdir())
    assert [path.name for path in case.folder.parent.parent.iterdir()] == ["new"]


def test_config_needs_custom_code_only_where_layers_differ(case):
    config = json.loads((case.folder / "config.json").read_text())
    if case.custom_code:
        assert set(config["auto_map"]) == {"AutoConfig", "AutoModelForCausalLM"}
        assert all(name.startswith("modeling_per_layer_gpt2.") for name in config["auto_map"].values())
        assert config["heads_per_layer"] == [2, 4]
    else:
        assert "auto_map" not in config
        assert config["model_type"] == "gpt2"
        assert config["architectures"] == ["GPT2LMHeadModel"]


def test_logits_are_bitwise_the_models_and_close_to_the_supernets(case, supernet: GPT2Supernet):
    with torch.inference_mode():
        logits = loaded(case)(input_ids=case.ids).logits
        expected = supernet.extract(case.architecture).eval()(input_ids=case.ids).logits
    assert torch.equal(logits, expected)
    torch.testing.assert_close(logits, case.logits, rtol=1e-5, atol=1e-5)


def test_weights_hold_each_tensor_once(case):
    names = set(load_file(case.folder / "model.safetensors"))
    assert "transformer.wte.weight" in names
    assert "lm_head.weight" not in names  # tied
    model = loaded(case)
    assert model.lm_head.weight is model.transformer.wte.weight


def test_generates_with_its_own_settings(case):
    settings = GenerationConfig.from_pretrained(case.folder)
    assert (settings.bos_token_id, settings.eos_token_id, settings.pad_token_id) == (0, 0, 0)
    trust = {"trust_remote_code": True} if case.custom_code else {}
    tokenizer: Any = AutoTokenizer.from_pretrained(case.folder, **trust)
    prompt = tokenizer("once upon", return_tensors="pt")
    tokens = loaded(case).generate(**prompt, max_new_tokens=5, do_sample=False)
    assert tokens.shape[1] > prompt["input_ids"].shape[1]
    assert isinstance(tokenizer.decode(tokens[0]), str)


def test_travelling_code_imports_nothing_but_transformers_and_torch(case):
    roots: set[str] = set()
    for path in case.folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                roots |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0
                roots.add(str(node.module).split(".")[0])
    assert roots - sys.stdlib_module_names <= {"transformers", "torch"}
    assert ("transformers" in roots) == case.custom_code


@pytest.mark.parametrize(
    ("line", "name"),
    [("import timm.models", "timm"), ("from knotwork_ops import Choice", "knotwork_ops"), ("from . import x", ".")],
)
def test_refuses_code_that_imports_more(tmp_path: Path, line: str, name: str):
    (tmp_path / "modeling_a.py").write_text(f"import torch, copy\ndef f():\n    {line}\n")
    with pytest.raises(ExportError, match=rf"modeling_a\.py travels with the model but imports {name.replace('.', '[.]')}:"):
        _code.check_code(tmp_path / "modeling_a.py", CODE_MAY_IMPORT)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_keeps_the_models_precision(tmp_path: Path, supernet: GPT2Supernet, architecture, dtype: torch.dtype):
    model = supernet.extract(architecture("uniform"))
    nn.Module.to(model, dtype)
    folder = export(model, tmp_path / "a", verify=False)
    assert {tensor.dtype for tensor in load_file(folder / "model.safetensors").values()} == {dtype}
    assert AutoModelForCausalLM.from_pretrained(folder).dtype == dtype
    assert "could not import" not in (folder / "README.md").read_text()
    assert not (folder / "tokenizer.json").exists()


def test_tampered_weight_is_an_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, supernet: GPT2Supernet, architecture
):
    write = CausalLM.write

    def tampered(self: CausalLM, folder: Path) -> None:
        write(self, folder)
        weights = load_file(folder / "model.safetensors")
        weights["transformer.ln_f.bias"][3] += 1e-3
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    monkeypatch.setattr(CausalLM, "write", tampered)
    with pytest.raises(
        ExportError, match=r"with transformers, differ from the model's by up to 0\.00\d+: they must be equal bit for bit"
    ):
        export(supernet.extract(architecture("uniform")), tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())


def test_failing_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, supernet: GPT2Supernet, architecture):
    def full(self: CausalLM, folder: Path) -> None:
        (folder / "config.json").write_text("{")
        raise OSError("no space left on device")

    monkeypatch.setattr(CausalLM, "write", full)
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError, match="no space left"):
        export(supernet.extract(architecture("uniform")), tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert not list((tmp_path / "a").iterdir())


def test_existing_folder_must_be_empty(tmp_path: Path, supernet: GPT2Supernet, architecture):
    model, folder = supernet.extract(architecture("uniform")), tmp_path / "mine"
    folder.mkdir()
    export(model, folder, verify=False)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(FileExistsError, match="mine is there already"):
        export(model, folder, verify=False)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    with pytest.raises(FileExistsError, match=r"config\.json is there already"):
        export(model, folder / "config.json", verify=False)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_refuses_what_is_no_language_model(tmp_path: Path, supernet: GPT2Supernet):
    for model in (nn.Linear(2, 2), supernet):
        with pytest.raises(ValueError, match=f"the model is a {type(model).__name__}: expected a transformers model"):
            export(model, tmp_path / "a")


def test_refuses_another_models_tokenizer(
    tmp_path: Path, supernet: GPT2Supernet, architecture, tokenizer: PreTrainedTokenizerFast
):
    model, raw = supernet.extract(architecture("uniform")), Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    with pytest.raises(ValueError, match=r"the tokenizer is a Tokenizer: .*PreTrainedTokenizerFast"):
        export(model, tmp_path / "a", tokenizer=raw)  # pyright: ignore[reportArgumentType]
    raw.add_tokens([f"extra-{index}" for index in range(100)])
    larger = PreTrainedTokenizerFast(tokenizer_object=raw)
    with pytest.raises(ValueError, match=rf"the tokenizer has {len(larger)} tokens, but the model's vocabulary 320"):
        export(model, tmp_path / "a", tokenizer=larger)
    assert not list(tmp_path.iterdir())
