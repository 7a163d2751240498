"""Ordering a network changes nothing that it computes, and puts first what scores most."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from knotwork_spaces import family, load_space
from knotwork_spaces.gpt2 import GPT2Supernet
from knotwork_spaces.gpt2 import plain_model as plain_gpt2
from knotwork_spaces.llama import LlamaSupernet
from knotwork_spaces.ordering import SCORES, order_units, ordered, unit_scores
from knotwork_spaces.vit import ViTSupernet
from torch import Tensor

from .comparison import assert_close, tiny_space, token_ids
from .llama_cases import exact_norms, spread_llama, tiny_llama
from .vit_cases import KINDS, images, spread, tiny_vit, vit_supernet


def gpt2(**changes: Any) -> tuple[Any, Any, list[dict[str, Tensor]]]:
    """A space, its largest plain model with spread weights in float64, and batches."""
    space = tiny_space(**changes)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = plain_gpt2(space, space.largest)
    spread(model)
    return space, model.double().eval(), [{"input_ids": token_ids(space, seed=seed)} for seed in range(3)]


def vit(kind: str) -> tuple[Any, Any, list[dict[str, Tensor]]]:
    space = tiny_vit(**KINDS[kind])
    if not space.stock(space.largest):
        pytest.skip("no stock timm model has heads of this width")
    model: Any = vit_supernet(space).extract(space.largest).eval()
    batches = [{"image": images(space, seed=seed), "label": torch.tensor([seed, 3])} for seed in range(3)]
    return space, model, batches


def llama(model_type: str) -> tuple[Any, Any, list[dict[str, Tensor]]]:
    space = tiny_llama(model_type=model_type, tie_word_embeddings=model_type == "llama")
    model: Any = spread_llama(space).extract(space.largest).eval()
    return space, model, [{"input_ids": token_ids(space, seed=seed)} for seed in range(3)]


def loss(space: Any) -> Any:
    metrics = family(space.family).plain_metrics
    return lambda model, batch: metrics(model, batch)["loss"]


@pytest.mark.parametrize("score", SCORES)
def test_an_ordered_gpt2_computes_the_same(score: str):
    space, model, batches = gpt2()
    before, weights = model(batches[0]["input_ids"]).logits, copy.deepcopy(model.state_dict())
    space = ordered(space, model, score, batches)
    assert_close(model(batches[0]["input_ids"]).logits, before, "logits")
    assert not torch.equal(model.state_dict()["transformer.wte.weight"], weights["transformer.wte.weight"])
    assert sorted(space.layer_order) == [0, 1, 2]
    supernet = GPT2Supernet(space, model).eval()
    assert_close(supernet.logits(batches[0]["input_ids"], space.largest), before, "the supernet's logits")


@pytest.mark.parametrize("kind", KINDS)
def test_an_ordered_vit_computes_the_same(kind: str):
    space, model, batches = vit(kind)
    before = model(batches[0]["image"])
    space = ordered(space, model, "taylor", batches)
    assert_close(model(batches[0]["image"]), before, "logits")
    supernet = ViTSupernet(space, model).eval()
    assert_close(supernet.logits(batches[0]["image"], space.largest), before, "the supernet's logits")


@pytest.mark.parametrize("model_type", ["llama", "mistral", "qwen3"])
def test_an_ordered_llama_computes_the_same(model_type: str):
    space, model, batches = llama(model_type)
    ids = batches[0]["input_ids"]
    with exact_norms():
        before = model(ids).logits
        space = ordered(space, model, "taylor", batches)
        assert_close(model(ids).logits, before, "logits")
    assert_close(LlamaSupernet(space, model).eval().logits(ids, space.largest), before, "the supernet's logits")


BUILDS = {"gpt2": gpt2, "vit": lambda: vit("plain"), "registers": lambda: vit("registers"), "qwen3": lambda: llama("qwen3")}


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
def test_any_permutation_of_any_group_computes_the_same(build: Any):
    space, model, batches = build()
    generator = torch.Generator().manual_seed(0)
    with exact_norms():
        before = loss(space)(model, batches[0])
    groups = family(space.family).units(space, model).groups
    moved = dict.fromkeys(name for name, _ in model.named_parameters())
    for group in groups:
        order_units(model, group, torch.randperm(group.count, generator=generator))
        with exact_norms():
            assert_close(loss(space)(model, batches[0]), before, group.name)
        for place in group.places:
            moved.pop(place.parameter, None)
    # What lies along no group: the classes, and the norms of queries and keys, whose dims the rotary embedding tells apart.
    assert {name.rpartition(".")[0].rpartition(".")[2] for name in moved} <= {"head", "q_norm", "k_norm"}


@pytest.mark.parametrize("score", SCORES)
def test_the_first_units_of_an_ordered_network_score_most(score: str):
    space, model, batches = gpt2()
    ordered(space, model, score, batches)
    units = family("gpt2").units(space, model)
    for name, scores in unit_scores(model, units, score, batches, loss(space)).items():
        if name != "depth":
            assert torch.equal(scores, scores.sort(descending=True).values) or torch.allclose(
                scores, scores.sort(descending=True).values, rtol=1e-9, atol=0
            ), name


def test_taylor_scores_are_the_squared_change_of_first_order():
    """Against the derivative of the loss along the line to the network without the unit, one unit after the other."""
    space, model, batches = gpt2()
    units = family("gpt2").units(space, model)
    scores = unit_scores(model, units, "taylor", batches, loss(space))
    for group in units.groups[:4]:
        for unit in (0, group.count - 1):
            expected = []
            for batch in batches:
                scale = torch.ones((), dtype=torch.float64, requires_grad=True)
                weights = {name: parameter.detach() for name, parameter in model.named_parameters()}
                for place in group.places:
                    index = place.positions[unit]
                    kept = weights[place.parameter]
                    factors = torch.ones(kept.shape[place.axis], dtype=torch.float64).index_fill(0, index, 0.0)
                    factors = factors + scale * (1 - factors)
                    shape = [1] * kept.dim()
                    shape[place.axis] = -1
                    weights[place.parameter] = kept * factors.view(shape)
                # The head is the embedding itself.
                weights["lm_head.weight"] = weights["transformer.wte.weight"]
                ids = batch["input_ids"]
                logits = torch.func.functional_call(model, weights, (ids[:, :-1],), tie_weights=False).logits
                value = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
                expected.append(torch.autograd.grad(value, scale)[0] ** 2)
            assert_close(scores[group.name][unit], torch.stack(expected).mean(), group.name)


def test_magnitude_is_the_norm_of_a_units_weights():
    space, model, batches = gpt2()
    units = family("gpt2").units(space, model)
    scores = unit_scores(model, units, "magnitude", [], loss(space))
    hidden = next(group for group in units.groups if "hidden" in group.name)
    mlp = model.transformer.h[0].mlp
    expected = (mlp.c_fc.weight[:, 5].square().sum() + mlp.c_fc.bias[5] ** 2 + mlp.c_proj.weight[5].square().sum()).sqrt()
    assert_close(scores[hidden.name][5], expected, hidden.name)
    layer = model.transformer.h[1]
    parts = [layer.attn.c_proj.weight, layer.attn.c_proj.bias, layer.mlp.c_proj.weight, layer.mlp.c_proj.bias]
    assert_close(scores["depth"][1], torch.cat([part.flatten() for part in parts]).norm(), "depth")
    assert batches


def test_activation_is_the_root_mean_square_of_what_is_passed_on():
    space, model, batches = gpt2()
    units = family("gpt2").units(space, model)
    scores = unit_scores(model, units, "activation", batches, loss(space))
    seen: list[Tensor] = []
    handle = model.transformer.h[0].mlp.c_proj.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    for batch in batches:
        loss(space)(model, batch)
    handle.remove()
    expected = torch.cat([x.flatten(0, 1) for x in seen]).square().mean(0).sqrt()
    assert_close(scores["transformer.h.0.mlp: hidden units"], expected.detach(), "hidden units")


@pytest.mark.parametrize("score", SCORES)
def test_scoring_leaves_the_model_as_it_was(score: str):
    space, model, batches = gpt2(dropout=0.5)
    model.train()
    before = copy.deepcopy(model.state_dict())
    first, second = (unit_scores(model, family("gpt2").units(space, model), score, batches, loss(space)) for _ in range(2))
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_what_cannot_be_scored_is_named():
    space, model, batches = gpt2()
    units = family("gpt2").units(space, model)
    with pytest.raises(ValueError, match="unknown score 'luck': known are"):
        unit_scores(model, units, "luck", batches, loss(space))
    for score in ("activation", "taylor"):
        with pytest.raises(ValueError, match="calibration set is empty"):
            unit_scores(model, units, score, [], loss(space))
    with pytest.raises(ValueError, match="family 'toy-cell' cannot be ordered"):
        ordered(load_space("toy-cell").build(), None, "taylor", [])
