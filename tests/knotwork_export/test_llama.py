"""Llamas as they leave: stock where layers agree, with their own code where not; and what loads them again.

Only one is proved in a fresh process, which takes seconds, and a per-layer one in tests/apps; all are loaded here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from knotwork_export import export
from knotwork_export._causal_lm import CausalLM
from knotwork_spaces.llama import LlamaSpace, LlamaSupernet
from torch import nn
from transformers import AutoModelForCausalLM

CODE = "modeling_per_layer_llama.py"
STOCK = {"llama": "LlamaForCausalLM", "mistral": "MistralForCausalLM", "qwen3": "Qwen3ForCausalLM"}
PER_LAYER = {"num_kv_heads": [1, 2], "heads_per_group": [2, 1], "intermediate_size": [40, 24]}
granularities = pytest.mark.parametrize("granularity", ["uniform", "per_layer"])


def supernet_of(model_type: str) -> LlamaSupernet:
    """Tied as Llama, untied else; weights spread, for those drawn give nearly the same logits whatever the net."""
    space = LlamaSpace.build(
        embed_dim=[16, 32],
        depth=[1, 2],
        num_kv_heads=[1, 2],
        heads_per_group=[1, 2],
        head_dim=[4, 8],
        intermediate_size=[24, 40],
        per_layer=LlamaSpace.per_layer_choices,
        model_type=model_type,
        vocab_size=320,
        block_size=24,
        eos_token_id=0,
        tie_word_embeddings=model_type == "llama",
    )
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        supernet = LlamaSupernet(space).eval()
        for parameter in supernet.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return supernet


def chosen(supernet: LlamaSupernet, granularity: str) -> Any:
    sizes = PER_LAYER if granularity == "per_layer" else {"num_kv_heads": 1}
    return supernet.space.architecture({**supernet.space.largest.as_dict(), "head_dim": 4, **sizes})


def loaded(folder: Path, granularity: str) -> Any:
    trust = {"trust_remote_code": True} if granularity == "per_layer" else {}
    return AutoModelForCausalLM.from_pretrained(folder, **trust).eval()


@granularities
@pytest.mark.parametrize("model_type", list(STOCK))
def test_folder_is_the_model(model_type: str, granularity: str, tmp_path: Path):
    supernet = supernet_of(model_type)
    arch, ids = chosen(supernet, granularity), torch.randint(320, (2, 24), generator=torch.Generator().manual_seed(1))
    model = supernet.extract(arch)
    folder = export(model, tmp_path / "model", verify=False)
    config = json.loads((folder / "config.json").read_text())
    assert (folder / CODE).exists() == ("auto_map" in config) == (granularity == "per_layer")
    if granularity == "uniform":
        assert (config["model_type"], config["architectures"]) == (model_type, [STOCK[model_type]])
    else:
        assert (config["heads_per_layer"], config["kv_heads_per_layer"]) == ([2, 2], [1, 2])
        assert config["intermediate_per_layer"] == [40, 24]
    again = loaded(folder, granularity)
    with torch.inference_mode():
        expected = model(input_ids=ids).logits
        torch.testing.assert_close(again(input_ids=ids).logits, expected, rtol=0, atol=1e-6)
        torch.testing.assert_close(supernet.logits(ids, arch), expected, rtol=1e-5, atol=1e-5)
    # Through the cache, whose key-value heads differ from layer to layer.
    tokens = again.generate(ids[:1, :4], max_new_tokens=5, do_sample=False)
    greedy = again(input_ids=tokens[:, :-1]).logits[0, 3:].argmax(-1)
    assert torch.equal(tokens[0, 4:], greedy)
    card = (folder / "README.md").read_text()
    assert f"A `{model_type}` language model" in card
    assert "| head_dim | 4 |" in card


@pytest.mark.slow
def test_folder_is_proved_where_knotwork_cannot_be_imported(tmp_path: Path):
    supernet = supernet_of("llama")
    arch, ids = chosen(supernet, "uniform"), torch.randint(320, (2, 24), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        logits = supernet.logits(ids, arch)
    folder = export(supernet.extract(arch), tmp_path / "model", reference_ids=ids, reference_logits=logits)
    assert "could not import Knotwork" in (folder / "README.md").read_text()


def test_a_model_that_was_cast_is_what_loads_again(tmp_path: Path):
    """Casting rounds a rotary embedding's wavelengths, which loading computes anew: the exported model has them so."""
    supernet = supernet_of("llama")
    model: Any = supernet.extract(supernet.space.largest)
    nn.Module.to(model, torch.bfloat16)
    assert model.model.rotary_emb.inv_freq.dtype == torch.bfloat16
    leaving = CausalLM.of(model, None, None, None)
    folder = export(model, tmp_path / "model", verify=False)
    again = loaded(folder, "uniform")
    assert again.dtype == torch.bfloat16
    assert model.model.rotary_emb.inv_freq.dtype == torch.bfloat16  # the given model stays as it is
    with torch.inference_mode():
        assert torch.equal(again.model.rotary_emb.inv_freq, leaving.plain.model.rotary_emb.inv_freq)  # type: ignore[union-attr]
        torch.testing.assert_close(again(input_ids=leaving.reference.inputs).logits, leaving.logits(), rtol=0, atol=1e-2)
