"""Invariant 3 of design.md, section 3: the supernet has the names and shapes of upstream's largest model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from knotwork_spaces.gpt2 import GPT2Supernet, plain_metrics
from transformers import GPT2Config, GPT2LMHeadModel

from .comparison import GRANULARITIES, assert_close, some_architectures, spread_supernet, tiny_space, token_ids


def shapes(model: torch.nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in model.state_dict().items()}


def upstream_config(**changes) -> GPT2Config:
    """What ``tiny_space`` needs, written without it: upstream's own defaults wherever the space says nothing."""
    sizes = {"vocab_size": 13, "n_positions": 7, "n_embd": 24, "n_layer": 3, "n_head": 4, "n_inner": 72}
    return GPT2Config(**{**sizes, "bos_token_id": None, "eos_token_id": None, **changes})


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_state_dict_is_that_of_the_largest_upstream_model(granularity: str):
    space = tiny_space(GRANULARITIES[granularity])
    assert shapes(GPT2Supernet(space)) == shapes(GPT2LMHeadModel(space.config(space.largest)))
    assert shapes(GPT2Supernet(space)) == shapes(GPT2LMHeadModel(upstream_config()))


def test_subnet_state_dicts_are_upstreams_own():
    space = tiny_space(GRANULARITIES["per_layer"])
    supernet = spread_supernet(space)
    for arch in some_architectures(space):
        model = supernet.extract(arch)
        assert shapes(model) == shapes(type(model)(space.config(arch)))


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_a_saved_checkpoint_goes_straight_into_a_supernet(granularity: str, tmp_path: Path):
    space = tiny_space(GRANULARITIES[granularity])
    torch.manual_seed(0)
    model = GPT2LMHeadModel(upstream_config())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    model.save_pretrained(tmp_path)
    loaded = GPT2LMHeadModel.from_pretrained(tmp_path)

    ids = token_ids(space)
    expected = model.eval()(ids).logits
    supernet = GPT2Supernet(space, loaded).eval()
    assert_close(supernet.logits(ids, space.largest), expected, "logits")
    assert_close(supernet.extract(space.largest)(ids).logits, expected, "logits of the extracted model")
    other = GPT2Supernet(space).eval()
    other.load_state_dict(model.state_dict())
    assert_close(other.logits(ids, space.largest), expected, "logits from the state dict")


def test_an_inner_size_left_to_upstream_is_four_times_the_width():
    space = tiny_space(mlp_ratio=[2, 4])
    assert isinstance(GPT2Supernet(space, GPT2LMHeadModel(upstream_config(n_inner=None))), GPT2Supernet)
    with pytest.raises(ValueError, match=r"n_inner 96, but the space's largest architecture 72"):
        GPT2Supernet(tiny_space(), GPT2LMHeadModel(upstream_config(n_inner=None)))


@pytest.mark.parametrize(
    ("name", "given", "wanted"),
    [("vocab_size", 14, 13), ("n_positions", 8, 7), ("n_embd", 48, 24), ("n_layer", 2, 3), ("n_inner", 96, 72)],
)
def test_other_sizes_are_refused(name: str, given: int, wanted: int):
    with pytest.raises(ValueError, match=rf"{name} {given}, but the space's largest architecture {wanted}"):
        GPT2Supernet(tiny_space(), GPT2LMHeadModel(upstream_config(**{name: given})))


@pytest.mark.parametrize(
    "changes",
    [
        {"n_head": 2},
        {"activation_function": "relu"},
        {"layer_norm_epsilon": 0.1},
        {"scale_attn_weights": False},
        {"scale_attn_by_inverse_layer_idx": True},
        {"tie_word_embeddings": False},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_model_that_computes_something_else_is_refused(changes: dict):
    with pytest.raises(ValueError, match=next(iter(changes))):
        GPT2Supernet(tiny_space(), GPT2LMHeadModel(upstream_config(**changes)))


def test_plain_metrics_are_the_supernets():
    space = tiny_space(GRANULARITIES["per_layer"])
    supernet, batch = spread_supernet(space), {"input_ids": token_ids(space)}
    for arch in some_architectures(space):
        plain, own = plain_metrics(supernet.extract(arch), batch), supernet.metrics(batch, arch)
        assert plain.keys() == own.keys() == {"loss"}
        assert_close(plain["loss"], own["loss"], str(arch))
