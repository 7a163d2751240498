"""Invariant 2 of design.md, section 3, for ViTs: one-hot mixture, sliced architecture and plain timm model agree."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from knotwork_ops import HardSample, Mixture
from knotwork_spaces.vit import ViTSpace
from torch import Tensor
from torch.nn import functional as F

from . import vit_oracle
from .comparison import (
    GRANULARITIES,
    assert_all_close,
    assert_close,
    few,
    gradients,
    one_hot,
    option_lists,
    random_alphas,
    some_architectures,
)
from .family_checks import assert_factors_get_the_chosen_gradient
from .vit_cases import KINDS, images, net_of, sliced_state, tiny_vit, upstream_subnet, vit_spaces, vit_supernet

kinds = pytest.mark.parametrize("kind", KINDS)
granularities = pytest.mark.parametrize("granularity", GRANULARITIES)


def assert_one_hot_exact(space: ViTSpace, dtype: torch.dtype, count: int = 2) -> None:
    supernet, image = vit_supernet(space, dtype), images(space, dtype)
    parameters = dict(supernet.named_parameters())
    for arch in some_architectures(space, count):
        sliced = supernet.logits(image, arch)
        mixed = supernet.logits(image, one_hot(space, arch, dtype))
        expected = upstream_subnet(space, supernet, arch)(image)
        assert_close(sliced, expected, f"sliced {arch} against timm")
        assert_close(mixed, expected, f"one-hot {arch} against timm")
        assert_close(supernet.extract(arch)(image), expected, f"extracted {arch} against timm")
        assert_all_close(gradients(sliced, parameters), gradients(mixed, parameters))


@granularities
@kinds
def test_one_hot_sliced_extracted_and_timms_own_model_agree(kind: str, granularity: str):
    space = tiny_vit(GRANULARITIES[granularity], **KINDS[kind])
    assert_one_hot_exact(space, torch.float64)
    assert_one_hot_exact(space, torch.float32, count=0)


@few
@given(space=vit_spaces())
def test_one_hot_sliced_extracted_and_timms_own_model_agree_in_any_space(space: ViTSpace):
    assert_one_hot_exact(space, torch.float64)


@kinds
def test_extraction_picks_exactly_the_used_weights(kind: str):
    space = tiny_vit(GRANULARITIES["per_layer"], **KINDS[kind])
    supernet = vit_supernet(space)
    for arch in some_architectures(space):
        expected = sliced_state(space, supernet.state_dict(), arch)
        found = supernet.extract(arch).state_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


@granularities
@pytest.mark.parametrize(
    "kind",
    [
        "plain",
        "average",
        "fixed heads, average, layer scale, no qkv bias",
        "registers and class",
        "norm before the blocks, fixed heads, grey",
    ],
)
def test_factors_get_the_gradient_of_the_chosen_option(kind: str, granularity: str):
    space = tiny_vit(GRANULARITIES[granularity], **KINDS[kind])
    supernet, image = vit_supernet(space), images(space)
    parameters = dict(supernet.named_parameters())

    def naive(weights: dict[str, Tensor]) -> Tensor:
        return vit_oracle.logits(parameters, image, option_lists(space), weights, net_of(space))

    for arch in some_architectures(space, 1):
        assert_factors_get_the_chosen_gradient(supernet, arch, image, naive)


def test_a_hard_sample_without_factors_is_its_architecture():
    space = tiny_vit()
    supernet, image = vit_supernet(space), images(space)
    assert torch.equal(supernet.logits(image, HardSample(space.smallest)), supernet.logits(image, space.smallest))


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "explicit"])
def test_either_attention_of_timm_gives_the_same_logits(fused: bool):
    space = tiny_vit(GRANULARITIES["per_layer"])
    supernet, image = vit_supernet(space), images(space)
    for arch in some_architectures(space, 2):
        model: Any = supernet.extract(arch)
        for block in model.blocks:
            assert isinstance(block.attn.fused_attn, bool)
            block.attn.fused_attn = fused
        assert_close(supernet.logits(image, arch), model(image), str(arch))


@pytest.mark.parametrize("kind", ["plain", "fixed heads, average, layer scale, no qkv bias"])
def test_autocast_stays_close_to_float32(kind: str):
    space = tiny_vit(GRANULARITIES["per_layer"], **KINDS[kind])
    supernet, image = vit_supernet(space, torch.float32), images(space, torch.float32)
    mixture = Mixture(space, {name: a.detach().softmax(-1) for name, a in random_alphas(space, torch.float32).items()})
    for arch in (mixture, space.smallest, space.largest):
        exact = supernet.logits(image, arch)
        with torch.autocast("cpu", torch.bfloat16):
            value = supernet.logits(image, arch)
        assert (value.float() - exact).abs().max() <= 0.05 * exact.abs().max()


@pytest.mark.parametrize("kind", ["plain", "fixed heads"])
def test_loss_and_metrics_are_those_of_the_logits(kind: str):
    space = tiny_vit(**KINDS[kind])
    supernet, image = vit_supernet(space), images(space, batch=4)
    labels = torch.tensor([3, 0, 6, 3])
    soft = torch.rand(4, space.num_classes, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    soft = soft / soft.sum(-1, keepdim=True)
    mixture = Mixture(space, {name: alpha.softmax(-1) for name, alpha in random_alphas(space).items()})
    for arch in (mixture, space.smallest, HardSample(space.largest)):
        rows = supernet.logits(image, arch).log_softmax(-1)
        expected = -torch.stack([rows[index, label] for index, label in enumerate(labels.tolist())]).mean()
        batch = {"image": image, "label": labels}
        assert_close(supernet.loss(batch, arch), expected, "loss")
        assert_close(supernet(batch, arch), expected, "the module called")
        assert_close(supernet.metrics(batch, arch)["loss"], expected, "metric")
        expected = -(F.softmax(rows, -1).log() * soft).sum() / 4
        assert_close(supernet.loss({"image": image, "label": soft}, arch), expected, "loss of soft labels")


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((2, 3, 6, 9), r"images are \(3, 6, 9\)"),
        ((2, 3, 9, 9), r"images are \(3, 9, 9\)"),
        ((2, 1, 6, 6), r"images are \(1, 6, 6\)"),
        ((3, 6, 6), r"images are \(6, 6\)"),
    ],
    ids=str,
)
def test_images_of_another_size_are_refused(shape: tuple[int, ...], said: str):
    space = tiny_vit()
    supernet = vit_supernet(space)
    mixture = Mixture(space, {name: alpha.softmax(-1) for name, alpha in random_alphas(space).items()})
    for arch in (mixture, space.smallest):
        with pytest.raises(ValueError, match=rf"{said}, but the space's \(3, 6, 6\) \(channels, height, width\)"):
            supernet.logits(torch.zeros(shape, dtype=torch.float64), arch)


def test_an_architecture_of_another_space_is_refused():
    space = tiny_vit()
    stranger = tiny_vit(embed_dim=[32]).smallest
    for use in (
        lambda: vit_supernet(space).logits(images(space), stranger),
        lambda: vit_supernet(space).extract(stranger),
        lambda: space.timm_model(stranger),
    ):
        with pytest.raises(ValueError, match=r"'embed_dim' cannot be 32: allowed are \[8, 16, 24\]"):
            use()
