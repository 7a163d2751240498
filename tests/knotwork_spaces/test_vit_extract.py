"""Extraction copies slices and does nothing else; and what stochastic depth and dropout do."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from knotwork_ops import Architecture, HardSample, Mixture
from knotwork_spaces.vit import ViTSpace, plain_model, slice_state_dict

from .comparison import GRANULARITIES, assert_close, one_hot, random_alphas, some_architectures
from .family_checks import assert_extraction_copies, assert_extraction_draws_nothing, assert_whole
from .vit_cases import KINDS, images, sliced_state, tiny_vit, upstream_subnet, vit_supernet

PER_LAYER = GRANULARITIES["per_layer"]
SPACE = tiny_vit(PER_LAYER)
FIXED = "fixed heads, average, layer scale, no qkv bias"

kinds = pytest.mark.parametrize("kind", ["plain", FIXED, "registers and class"])


@kinds
def test_extraction_draws_no_random_numbers(kind: str):
    assert_extraction_draws_nothing(vit_supernet(tiny_vit(PER_LAYER, **KINDS[kind])))


def test_extracted_models_share_no_memory():
    assert_extraction_copies(vit_supernet(SPACE))


@kinds
def test_extracted_models_are_whole(kind: str):
    space = tiny_vit(PER_LAYER, **KINDS[kind])
    supernet = vit_supernet(space)
    for arch in some_architectures(space):
        assert_whole(supernet.extract(arch))


@pytest.mark.parametrize("training", [True, False])
def test_extracted_models_train_when_the_supernet_does(training: bool):
    model = vit_supernet(SPACE).train(training).extract(SPACE.smallest)
    assert all(module.training is training for module in model.modules())


@kinds
def test_slices_are_contiguous_copies_that_a_plain_model_loads(kind: str):
    space = tiny_vit(PER_LAYER, **KINDS[kind])
    supernet = vit_supernet(space)
    state = slice_state_dict(space, supernet.state_dict(), space.smallest)
    expected = sliced_state(space, supernet.state_dict(), space.smallest)
    assert state.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in state.items())
    assert all(tensor.is_contiguous() and not tensor.requires_grad for tensor in state.values())
    model, fresh = plain_model(space, space.smallest, state).eval(), plain_model(space, space.smallest)
    image = images(space)
    assert_close(model(image), upstream_subnet(space, supernet, space.smallest)(image), "logits")
    assert not torch.equal(fresh.state_dict()["head.weight"], state["head.weight"].float())


def deepest(space: ViTSpace) -> list[Architecture]:
    """Architectures of the largest depth: timm spreads stochastic depth over a net's own depth."""
    values: list[dict[str, Any]] = [
        {"embed_dim": 16, "num_heads": [2, 4, 1], "mlp_ratio": [3, 0.5, 1.25]},
        {"embed_dim": 8, "num_heads": [1, 1, 1], "mlp_ratio": [0.5, 0.5, 0.5]},
    ]
    return [space.largest, *(space.architecture({"depth": 3, **value}) for value in values)]


@pytest.mark.parametrize("rates", [{"drop_path_rate": 0.6}, {"dropout": 0.4}, {"drop_path_rate": 0.6, "dropout": 0.4}], ids=str)
@pytest.mark.parametrize("changes", [{}, {"init_values": 0.5}, {"head_dim": 5}], ids=str)
def test_a_subnet_in_training_drops_what_the_plain_model_drops(changes: dict, rates: dict):
    space = tiny_vit(PER_LAYER, **changes, **rates)
    supernet, image = vit_supernet(space).train(), images(space, batch=8)
    for arch in deepest(space):
        outputs = []
        for model in (supernet.extract(arch), upstream_subnet(space, supernet, arch).train()):
            torch.manual_seed(3)
            outputs.append(model(image))
        torch.manual_seed(3)
        sliced = supernet.logits(image, arch)
        assert_close(sliced, outputs[0], f"{arch} against the extracted model")
        assert_close(sliced, outputs[1], f"{arch} against timm's own")
        torch.manual_seed(4)
        assert not torch.allclose(supernet.logits(image, arch), sliced)
    torch.manual_seed(3)
    largest = supernet.logits(image, space.largest)
    torch.manual_seed(3)
    assert_close(supernet.logits(image, one_hot(space, space.largest)), largest, "one-hot mixture of the largest")


@pytest.mark.parametrize("rates", [{"drop_path_rate": 0.6}, {"dropout": 0.4}], ids=str)
def test_nothing_is_dropped_in_evaluation(rates: dict):
    space = tiny_vit(PER_LAYER, **rates)
    supernet, image, same = vit_supernet(space), images(space, batch=8), vit_supernet(SPACE)
    mixture = Mixture(space, {name: alpha.softmax(-1) for name, alpha in random_alphas(space).items()})
    for arch in (mixture, one_hot(space, space.largest), space.largest, HardSample(space.largest)):
        expected = same.logits(image, arch)
        assert torch.equal(supernet.eval().logits(image, arch), expected)
        first, second = supernet.train().logits(image, arch), supernet.logits(image, arch)
        assert not torch.allclose(first, expected)
        assert not torch.allclose(first, second)


@pytest.mark.parametrize("kind", ["plain", "fixed heads"])
def test_extracted_models_have_the_rates_of_the_space(kind: str):
    """As timm spreads them: stochastic depth over the net's own layers, the first of which is never dropped."""
    space = tiny_vit(**KINDS[kind], drop_path_rate=0.4, dropout=0.3)
    model: Any = vit_supernet(space).extract(space.largest)
    rates = [getattr(block.drop_path1, "drop_prob", 0.0) for block in model.blocks]
    assert rates == pytest.approx([0, 0.2, 0.4])
    drops = [(block.attn.proj_drop.p, block.mlp.drop1.p, block.mlp.drop2.p, block.attn.attn_drop.p) for block in model.blocks]
    assert drops == [(0.3, 0.3, 0.3, 0.0)] * 3


def test_a_per_layer_model_starts_like_a_stock_one():
    space = tiny_vit(PER_LAYER, embed_dim=[64], depth=[2], num_heads=[2, 4], mlp_ratio=[2, 4])
    layers = {"embed_dim": 64, "depth": 2}
    torch.manual_seed(0)
    stock = plain_model(space, space.architecture({**layers, "num_heads": [4, 4], "mlp_ratio": [4, 4]}))
    mixed = plain_model(space, space.architecture({**layers, "num_heads": [2, 4], "mlp_ratio": [2, 4]}))
    scales = {name: parameter.std().item() for name, parameter in stock.named_parameters() if parameter.dim() == 2}
    for name, parameter in mixed.named_parameters():
        if parameter.dim() == 2:
            assert parameter.std().item() == pytest.approx(scales[name], rel=0.1), name
