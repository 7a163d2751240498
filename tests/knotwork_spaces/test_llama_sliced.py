"""Invariant 2 of design.md, section 3, for Llamas: one-hot mixture, sliced architecture and plain upstream model agree.

Upstream's norms compute in float32 whatever the model's precision. In float64 they are compared without that cast.
"""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from hypothesis import given
from knotwork_ops import HardSample
from knotwork_spaces.llama import (
    LlamaSpace,
    PerLayerLlamaForCausalLM,
    PerLayerMistralForCausalLM,
    PerLayerQwen3ForCausalLM,
)
from transformers import LlamaForCausalLM, MistralForCausalLM, Qwen3ForCausalLM

from .comparison import (
    DTYPES,
    assert_all_close,
    assert_close,
    few,
    gradients,
    one_hot,
    some_architectures,
    token_ids,
)
from .family_checks import assert_factors_get_the_chosen_gradient
from .llama_cases import CASES, GRANULARITIES, cases, exact_norms, granularities, llama_spaces, spread_llama, tiny_llama
from .test_llama_naive import naive


def assert_one_hot_exact(space: LlamaSpace, dtype: torch.dtype, count: int = 3) -> None:
    supernet, ids = spread_llama(space, dtype), token_ids(space)
    parameters = dict(supernet.named_parameters())
    for arch in some_architectures(space, count):
        sliced = supernet.logits(ids, arch)
        mixed = supernet.logits(ids, one_hot(space, arch, dtype))
        with exact_norms() if dtype == torch.float64 else nullcontext():
            plain = supernet.extract(arch)(ids).logits
        assert_close(sliced, plain, f"sliced {arch} against upstream")
        assert_close(mixed, plain, f"one-hot {arch} against upstream")
        assert_all_close(gradients(sliced, parameters), gradients(mixed, parameters))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@granularities
@cases
def test_one_hot_sliced_and_upstream_agree(case: str, granularity: str, dtype: torch.dtype):
    assert_one_hot_exact(tiny_llama(GRANULARITIES[granularity], **CASES[case]), dtype)


@few
@given(space=llama_spaces())
def test_one_hot_sliced_and_upstream_agree_in_any_space(space: LlamaSpace):
    assert_one_hot_exact(space, torch.float64, count=2)


@granularities
@pytest.mark.parametrize("case", ["llama, tied", "qwen3, untied, head widths"])
def test_factors_get_the_gradient_of_the_chosen_option(case: str, granularity: str):
    space = tiny_llama(GRANULARITIES[granularity], **CASES[case])
    supernet, ids = spread_llama(space), token_ids(space)
    parameters = dict(supernet.named_parameters())
    for arch in some_architectures(space, 1):
        assert_factors_get_the_chosen_gradient(supernet, arch, ids, lambda weights: naive(space, ids, parameters, weights))


def test_a_hard_sample_without_factors_is_its_architecture():
    space = tiny_llama()
    supernet, ids = spread_llama(space), token_ids(space)
    assert torch.equal(supernet.logits(ids, HardSample(space.smallest)), supernet.logits(ids, space.smallest))


KINDS = {
    "llama": (LlamaForCausalLM, PerLayerLlamaForCausalLM),
    "mistral": (MistralForCausalLM, PerLayerMistralForCausalLM),
    "qwen3": (Qwen3ForCausalLM, PerLayerQwen3ForCausalLM),
}


@pytest.mark.parametrize("model_type", list(KINDS))
def test_only_what_differs_between_layers_needs_custom_code(model_type: str):
    space = tiny_llama(GRANULARITIES["per_layer"], model_type=model_type)
    supernet, alike = spread_llama(space), {**space.largest.as_dict(), "num_kv_heads": 1, "intermediate_size": 8}
    stock, per_layer = KINDS[model_type]
    assert type(supernet.extract(space.architecture(alike))) is stock
    for name, options in (("num_kv_heads", [1, 3, 1]), ("heads_per_group", [2, 2, 1]), ("intermediate_size", [3, 20, 20])):
        assert type(supernet.extract(space.architecture({**alike, name: options}))) is per_layer


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_either_attention_of_upstream_gives_the_same_logits(implementation: str):
    """In float32: upstream's eager attention has its softmax in that precision whatever the model's."""
    space = tiny_llama(GRANULARITIES["per_layer"])
    supernet, ids = spread_llama(space, torch.float32), token_ids(space)
    for arch in some_architectures(space, 2):
        model = supernet.extract(arch)
        model.set_attn_implementation(implementation)
        assert model.config._attn_implementation == implementation
        assert_close(supernet.logits(ids, arch), model(ids).logits, str(arch))


def test_mistral_and_llama_compute_the_same():
    llama, mistral = spread_llama(tiny_llama()), spread_llama(tiny_llama(model_type="mistral"), seed=1)
    mistral.load_state_dict(llama.state_dict())
    ids = token_ids(llama.space)
    for one, other in zip(some_architectures(llama.space), some_architectures(mistral.space), strict=True):
        assert torch.equal(llama.logits(ids, one), mistral.logits(ids, other))


def test_a_narrower_head_turns_as_the_pairs_that_it_keeps():
    """Among the many pairs of a real head: those that are kept have, to float32's last digits, the wavelengths they had."""
    space = tiny_llama(head_dim=[16, 64], depth=[1], rope_theta=100000.0, block_size=64)
    widest, narrow = (spread_llama(space).extract(a).model.rotary_emb.inv_freq for a in (space.largest, space.smallest))
    torch.testing.assert_close(narrow, widest[::4], rtol=1e-6, atol=0)
