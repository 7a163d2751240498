"""Low-rank adapters on a supernet: entangled like the weights they adapt, trained alone, merged when they leave."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pytest
import torch
from knotwork_ops import Mixture
from knotwork_spaces import adapted, family, merged_state
from knotwork_spaces.llama import LlamaSpace
from torch import Tensor
from torch._dynamo.utils import counters

from . import llama_oracle, oracle, vit_oracle
from .cells_cases import cells_supernet, tiny_cells
from .comparison import (
    GRANULARITIES,
    assert_all_close,
    assert_close,
    compiling,
    gradients,
    one_hot,
    option_lists,
    random_alphas,
    some_architectures,
    spread_supernet,
    tiny_space,
    token_ids,
)
from .family_checks import assert_extraction_copies, assert_factors_get_the_chosen_gradient
from .llama_cases import WIDTHS, exact_norms, spread_llama, tiny_llama
from .vit_cases import KINDS, images, net_of, tiny_vit, vit_supernet

RANK = 2


class Case(NamedTuple):
    """A family's supernet, what its ``logits`` take, its naive logits, and whether its weights are stored transposed."""

    build: Callable[[], Any]
    inputs: Callable[[Any], Tensor]
    naive: Callable[[Any, Mapping[str, Tensor], Mapping[str, Tensor], Tensor], Tensor]
    transposed: bool


def gpt2_naive(space: Any, state: Mapping[str, Tensor], weights: Mapping[str, Tensor], ids: Tensor) -> Tensor:
    return oracle.logits(state, ids, option_lists(space), weights)


def vit_naive(space: Any, state: Mapping[str, Tensor], weights: Mapping[str, Tensor], image: Tensor) -> Tensor:
    return vit_oracle.logits(state, image, option_lists(space), weights, net_of(space))


def llama_naive(space: Any, state: Mapping[str, Tensor], weights: Mapping[str, Tensor], ids: Tensor) -> Tensor:
    settings = llama_oracle.Settings(space.rms_norm_eps, space.rope_theta, space.model_type == "qwen3")
    return llama_oracle.logits(state, ids, option_lists(space), weights, settings)


def llama_supernet() -> Any:
    return spread_llama(tiny_llama(LlamaSpace.per_layer_choices, model_type="qwen3", **WIDTHS))


PER_LAYER = GRANULARITIES["per_layer"]
CASES = {
    "gpt2": Case(lambda: spread_supernet(tiny_space(PER_LAYER)), token_ids, gpt2_naive, True),
    "vit": Case(lambda: vit_supernet(tiny_vit(PER_LAYER)), images, vit_naive, False),
    "vit, fixed heads": Case(lambda: vit_supernet(tiny_vit(PER_LAYER, **KINDS["fixed heads"])), images, vit_naive, False),
    "qwen3, head widths": Case(llama_supernet, token_ids, llama_naive, False),
}
cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def with_random_adapters(case: Case) -> Any:
    supernet = adapted(case.build(), RANK)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in supernet.named_parameters():
            if ".lora_" in name:
                parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    return supernet


def merged_by_hand(case: Case, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``W + 2 B A`` under W's upstream name, differentiable."""
    state = {}
    for name, tensor in parameters.items():
        if ".base_layer." in name:
            layer, kind = name.split(".base_layer.")
            if kind == "weight":
                update = parameters[f"{layer}.lora_B.default.weight"] @ parameters[f"{layer}.lora_A.default.weight"]
                tensor = tensor + 2.0 * (update.T if case.transposed else update)
            name = f"{layer}.{kind}"
        if ".lora_" not in name:
            state[name] = tensor
    return state


@cases
def test_mixture_equals_naive_sum_of_the_merged_weights(case: Case):
    supernet, alphas = with_random_adapters(case), random_alphas(case.build().space)
    space, inputs, parameters = supernet.space, case.inputs(supernet.space), dict(supernet.named_parameters())
    leaves = {name: p for name, p in parameters.items() if p.requires_grad} | alphas
    assert len(leaves) > len(alphas)

    def weights() -> dict[str, Tensor]:
        return {name: alpha.softmax(-1) for name, alpha in alphas.items()}

    value = supernet.logits(inputs, Mixture(space, weights()))
    expected = case.naive(space, merged_by_hand(case, parameters), weights(), inputs)
    assert_close(value, expected, "logits")
    assert_all_close(gradients(value, leaves), gradients(expected, leaves))


@cases
def test_one_hot_sliced_and_the_extracted_plain_model_agree(case: Case):
    supernet = with_random_adapters(case)
    space, inputs = supernet.space, case.inputs(supernet.space)
    leaves = {name: p for name, p in supernet.named_parameters() if p.requires_grad}
    plain_model = family(space.family).plain_model
    for arch in some_architectures(space, 2):
        model, sliced = supernet.extract(arch), supernet.logits(inputs, arch)
        mixed = supernet.logits(inputs, one_hot(space, arch))
        with exact_norms():
            plain = model(inputs)
        plain = getattr(plain, "logits", plain)
        assert model.state_dict().keys() == plain_model(space, arch).state_dict().keys()
        assert all(p.requires_grad for p in model.parameters())
        assert_close(sliced, plain, f"sliced {arch} against upstream")
        assert_close(mixed, plain, f"one-hot {arch} against upstream")
        assert_all_close(gradients(sliced, leaves), gradients(mixed, leaves))
    assert_extraction_copies(supernet)


@cases
def test_factors_get_the_gradient_of_the_chosen_option(case: Case):
    supernet = with_random_adapters(case).requires_grad_(True)
    parameters, inputs = dict(supernet.named_parameters()), case.inputs(supernet.space)
    for arch in some_architectures(supernet.space, 1):
        assert_factors_get_the_chosen_gradient(
            supernet, arch, inputs, lambda w: case.naive(supernet.space, merged_by_hand(case, parameters), w, inputs)
        )


@cases
def test_a_fresh_adapter_changes_nothing_and_is_trained_alone(case: Case):
    supernet = case.build()
    space, state, inputs = supernet.space, dict(supernet.state_dict()), case.inputs(supernet.space)
    mixture = Mixture(space, {name: alpha.detach().softmax(-1) for name, alpha in random_alphas(space).items()})
    before = [supernet.logits(inputs, arch) for arch in (mixture, space.smallest, space.largest)]
    costs = supernet.cost(mixture)
    assert adapted(supernet, RANK) is supernet
    after = [supernet.logits(inputs, arch) for arch in (mixture, space.smallest, space.largest)]
    assert all(torch.equal(one, two) for one, two in zip(after, before, strict=True))
    assert all(torch.equal(cost, costs[name]) for name, cost in supernet.cost(mixture).items())
    merged = merged_state(supernet)
    assert list(merged) == list(state)
    assert all(torch.equal(tensor, state[name]) for name, tensor in merged.items())
    trained = {name for name, parameter in supernet.named_parameters() if parameter.requires_grad}
    adapters = {name for name, _ in supernet.named_parameters() if ".lora_" in name}
    # In each of three layers two factors of every linear map: four of them, and seven of a Llama.
    assert len(adapters) == 3 * 2 * (7 if hasattr(supernet, "model") else 4)
    assert trained - adapters == ({"head.weight", "head.bias"} if hasattr(supernet, "head") else set())
    assert trained >= adapters


def test_only_what_is_asked_for_is_adapted():
    supernet = spread_supernet(tiny_space())
    names = [name for name, _ in supernet.named_parameters()]
    assert adapted(supernet, None) is supernet
    assert [name for name, parameter in supernet.named_parameters() if parameter.requires_grad] == names
    assert merged_state(supernet).keys() == supernet.state_dict().keys()
    with pytest.raises(ValueError, match="the rank of the adapters is 0: it must be a positive whole number"):
        adapted(supernet, 0)
    with pytest.raises(ValueError, match="a ToyCellSupernet has no linear maps to adapt: train its weights instead"):
        adapted(cells_supernet(tiny_cells()), 2)


def test_peft_is_needed_only_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch):
    supernet = spread_supernet(tiny_space())
    monkeypatch.setitem(sys.modules, "peft", None)
    supernet.extract(adapted(supernet, None).space.smallest)
    with pytest.raises(ImportError, match=r"low-rank adapters need peft: pip install 'knotwork-spaces\[lora\]'"):
        adapted(supernet, 4)


@compiling
def test_compiled_blocks_have_the_same_gradients():
    supernet = with_random_adapters(CASES["gpt2"])
    batch = {"input_ids": token_ids(supernet.space)}
    weights = {name: alpha.detach().softmax(-1) for name, alpha in random_alphas(supernet.space).items()}
    leaves = {name: p for name, p in supernet.named_parameters() if p.requires_grad}

    def found() -> dict[str, Tensor]:
        return gradients(supernet.loss(batch, Mixture(supernet.space, weights)), leaves)

    expected = found()
    torch._dynamo.reset()
    counters.clear()
    supernet.compile(backend="eager")
    assert_all_close(found(), expected)
    # One for the first block, whose input comes from frozen embeddings and needs no gradient, and one for all others.
    assert counters["stats"]["unique_graphs"] == 2
    assert not counters["graph_break"]
    torch._dynamo.reset()
