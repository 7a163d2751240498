"""Invariant 3 of design.md, section 3, for Llamas: the supernet has the names and shapes of upstream's largest model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from knotwork_spaces.llama import LlamaSupernet, plain_metrics
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from .comparison import assert_close, some_architectures, token_ids
from .llama_cases import CASES, GRANULARITIES, cases, exact_norms, granularities, spread_llama, tiny_llama

UPSTREAM: dict[str, tuple[Any, Any]] = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "mistral": (MistralConfig, MistralForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
}
model_types = pytest.mark.parametrize("model_type", list(UPSTREAM))


def shapes(model: torch.nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in model.state_dict().items()}


def upstream(model_type: str = "llama", **changes: Any) -> Any:
    """What ``tiny_llama`` needs, written without it: upstream's own defaults wherever the space says nothing."""
    config, model = UPSTREAM[model_type]
    own = {"sliding_window": None} if model_type == "mistral" else {}
    sizes = {
        "vocab_size": 13,
        "max_position_embeddings": 7,
        "hidden_size": 24,
        "num_hidden_layers": 3,
        "num_attention_heads": 6,
        "num_key_value_heads": 3,
        "head_dim": 4,
        "intermediate_size": 20,
        "rms_norm_eps": 1e-2,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    return model(config(**{**sizes, **own, **changes}))


@granularities
@cases
def test_state_dict_is_that_of_the_largest_upstream_model(case: str, granularity: str):
    space = tiny_llama(GRANULARITIES[granularity], **CASES[case])
    model = UPSTREAM[space.model_type][1]
    assert shapes(LlamaSupernet(space)) == shapes(model(space.config(space.largest)))
    given = {"head_dim": space["head_dim"].options[-1], "tie_word_embeddings": space.tie_word_embeddings}
    assert shapes(LlamaSupernet(space)) == shapes(upstream(space.model_type, **given))


@cases
def test_subnet_state_dicts_are_upstreams_own(case: str):
    space = tiny_llama(GRANULARITIES["per_layer"], **CASES[case])
    supernet = spread_llama(space)
    for arch in some_architectures(space):
        model: Any = supernet.extract(arch)
        assert shapes(model) == shapes(type(model)(space.config(arch)))


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@model_types
def test_a_saved_checkpoint_goes_straight_into_a_supernet(model_type: str, tied: bool, tmp_path: Path):
    space = tiny_llama(model_type=model_type, tie_word_embeddings=tied)
    torch.manual_seed(0)
    model = upstream(model_type, tie_word_embeddings=tied)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    model.save_pretrained(tmp_path)
    loaded: Any = AutoModelForCausalLM.from_pretrained(tmp_path)

    ids = token_ids(space)
    expected = model.eval()(ids).logits
    supernet = LlamaSupernet(space, loaded).eval()
    assert_close(supernet.logits(ids, space.largest), expected, "logits")
    assert_close(supernet.extract(space.largest)(ids).logits, expected, "logits of the extracted model")
    other = LlamaSupernet(space).eval()
    other.load_state_dict(model.state_dict())
    assert_close(other.logits(ids, space.largest), expected, "logits from the state dict")


@pytest.mark.parametrize(
    ("name", "given", "wanted"),
    [
        ("vocab_size", 14, 13),
        ("max_position_embeddings", 8, 7),
        ("hidden_size", 48, 24),
        ("num_hidden_layers", 2, 3),
        ("num_attention_heads", 12, 6),
        ("num_key_value_heads", 2, 3),
        ("head_dim", 8, 4),
        ("intermediate_size", 21, 20),
        ("rms_norm_eps", 1e-06, 0.01),
        ("tie_word_embeddings", False, True),
    ],
)
def test_other_sizes_are_refused(name: str, given: Any, wanted: Any):
    with pytest.raises(ValueError, match=rf"{name} {given}, but the space's largest architecture {wanted}"):
        LlamaSupernet(tiny_llama(), upstream(**{name: given}))


@pytest.mark.parametrize(
    ("model_type", "changes"),
    [
        ("llama", {"hidden_act": "gelu"}),
        ("llama", {"attention_bias": True}),
        ("llama", {"mlp_bias": True}),
        ("llama", {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}),
        ("llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0}}),
        ("mistral", {"sliding_window": 4}),
        ("qwen3", {"attention_bias": True}),
        ("qwen3", {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_a_model_that_computes_something_else_is_refused(model_type: str, changes: dict):
    name = next(name for name in changes if name != "use_sliding_window")
    with pytest.raises(ValueError, match=rf"the upstream model has {name} .*, but the space's largest architecture"):
        LlamaSupernet(tiny_llama(model_type=model_type), upstream(model_type, **changes))


def test_a_model_of_another_type_is_refused():
    with pytest.raises(ValueError, match=r"is a MistralForCausalLM: .*model_type 'llama' wraps a stock LlamaForCausalLM"):
        LlamaSupernet(tiny_llama(), upstream("mistral"))
    space = tiny_llama(GRANULARITIES["per_layer"])
    mixed = space.architecture({**space.largest.as_dict(), "num_kv_heads": [1, 3, 3]})
    with pytest.raises(ValueError, match=r"is a PerLayerLlamaForCausalLM: .* wraps a stock LlamaForCausalLM"):
        LlamaSupernet(space, spread_llama(space).extract(mixed))


def test_plain_metrics_are_the_supernets():
    space = tiny_llama(GRANULARITIES["per_layer"])
    supernet, batch = spread_llama(space), {"input_ids": token_ids(space)}
    for arch in some_architectures(space):
        with exact_norms():
            plain = plain_metrics(supernet.extract(arch), batch)
        own = supernet.metrics(batch, arch)
        assert plain.keys() == own.keys() == {"loss"}
        assert_close(plain["loss"], own["loss"], str(arch))
