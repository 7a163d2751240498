"""Invariant 3 of design.md, section 3, for ViTs: the supernet has the names and shapes of timm's largest model."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from knotwork_spaces.vit import ViTSupernet, plain_model
from safetensors.torch import load_file, save_file
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from .comparison import GRANULARITIES, assert_close, some_architectures
from .vit_cases import CLIP, KINDS, REGISTERS, images, spread, timm_model, tiny_vit, vit_supernet

kinds = pytest.mark.parametrize("kind", KINDS)


def shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in model.state_dict().items()}


def upstream(**changes: Any) -> Any:
    """What ``tiny_vit``'s largest architecture is, through timm's interface alone."""
    sizes = {"img_size": 6, "patch_size": 3, "embed_dim": 24, "depth": 3, "num_heads": 4, "mlp_ratio": 3, "num_classes": 7}
    return timm.create_model(**{"model_name": "vit_tiny_patch16_224", **sizes, **changes})


@pytest.mark.parametrize("granularity", GRANULARITIES)
@kinds
def test_state_dict_is_that_of_the_largest_upstream_model(kind: str, granularity: str):
    space = tiny_vit(GRANULARITIES[granularity], **KINDS[kind])
    assert shapes(ViTSupernet(space)) == shapes(timm_model(space, space.largest))


def test_state_dict_is_that_of_a_stock_vit():
    assert shapes(ViTSupernet(tiny_vit())) == shapes(upstream())


@kinds
def test_plain_models_have_timms_own_names_and_shapes(kind: str):
    space = tiny_vit(GRANULARITIES["per_layer"], **KINDS[kind])
    for arch in some_architectures(space):
        model = plain_model(space, arch)
        assert isinstance(model, VisionTransformer)
        assert shapes(model) == shapes(timm_model(space, arch))


@kinds
def test_an_upstream_model_becomes_a_supernet(kind: str, tmp_path: Path):
    space = tiny_vit(GRANULARITIES["per_layer"], **KINDS[kind])
    torch.manual_seed(0)
    model = plain_model(space, space.largest).eval()
    spread(model)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    image = images(space, torch.float32)
    expected = model(image)
    fresh = plain_model(space, space.largest)
    fresh.load_state_dict(load_file(tmp_path / "model.safetensors"))
    supernet = ViTSupernet(space, fresh).eval()
    assert_close(supernet.logits(image, space.largest), expected, "logits")
    assert_close(supernet.extract(space.largest)(image), expected, "logits of the extracted model")
    other = ViTSupernet(space).eval()
    other.load_state_dict(model.state_dict())
    assert_close(other.logits(image, space.largest), expected, "logits from the state dict")


def test_a_stock_timm_model_becomes_a_supernet():
    space, model = tiny_vit(), upstream().eval()
    spread(model)
    image = images(space, torch.float32)
    assert_close(ViTSupernet(space, model).eval().logits(image, space.largest), model(image), "logits")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embed_dim": 12}, r"has \S+ of shape \(.*\), but the space's largest architecture \("),
        ({"depth": 2}, r"has blocks\.2\.\S+ of shape None, but the space's largest architecture \("),
        ({"depth": 4}, r"has blocks\.3\.\S+ of shape \(.*\), but the space's largest architecture None"),
        ({"mlp_ratio": 4}, r"has blocks\.\d\.mlp\.\S+ of shape \(.*96.*\), but the space's largest architecture \(.*72"),
        ({"num_classes": 8}, r"has head\.\S+ of shape \(8.*\), but the space's largest architecture \(7"),
        ({"num_classes": 0}, r"has head\.\S+ of shape None, but"),
        ({"in_chans": 1}, r"has patch_embed.proj.weight of shape \(24, 1, 3, 3\), but .* \(24, 3, 3, 3\)"),
        ({"patch_size": 2}, r"has (patch_embed.proj.weight|pos_embed) of shape"),
        ({"img_size": 9}, r"has pos_embed of shape \(1, 10, 24\), but the space's largest architecture \(1, 5, 24\)"),
        ({"qkv_bias": False}, r"has blocks\.\d\.attn\.qkv\.bias of shape None, but"),
        ({"init_values": 0.1}, r"has blocks\.\d\.ls[12]\.gamma of shape \(24,\), but the space's largest architecture None"),
        ({"global_pool": "avg"}, r"has (fc_)?norm\.\S+ of shape"),
        ({"global_pool": "avg", "fc_norm": False}, r"has global_pool 'avg', but the space's largest architecture 'token'"),
        ({"model_name": REGISTERS}, r"the upstream model has \S+ of shape .*, but the space's largest architecture"),
        ({"model_name": CLIP}, r"the upstream model has (norm_pre|patch_embed)\.\S+ of shape"),
        ({"proj_bias": False}, r"the upstream model has \S+\.bias of shape None, but"),
    ],
    ids=str,
)
def test_other_sizes_and_parts_are_refused(changes: dict, message: str):
    with pytest.raises(ValueError, match=message) as refusal:
        ViTSupernet(tiny_vit(), upstream(**changes))
    assert "\n" not in str(refusal.value)


def test_a_pool_that_counts_other_tokens_is_refused():
    """It has the same weights, so only what timm notes beside its modules tells."""
    with pytest.raises(ValueError, match="has pool_include_prefix True, but the space's largest architecture False"):
        ViTSupernet(tiny_vit(global_pool="avg"), upstream(global_pool="avg", pool_include_prefix=True))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_heads": 2}, "head"),
        ({"num_heads": 1}, "head"),
        ({"act_layer": "relu"}, "ReLU|act"),
        ({"act_layer": "gelu_tanh"}, "GELU|Gelu|act"),
        ({"norm_layer": partial(nn.LayerNorm, eps=0.1)}, "eps"),
    ],
    ids=str,
)
def test_a_model_that_computes_something_else_with_the_same_shapes_is_refused(changes: dict, said: str):
    with pytest.raises(ValueError, match=said):
        ViTSupernet(tiny_vit(), upstream(**changes))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: nn.Linear(2, 2), r"is a Linear, not a VisionTransformer: name one of timm's vit_\* models"),
        (lambda: upstream(global_pool="map"), r"has pooling other than \('token', 'avg'\), which a supernet cannot mix"),
        (lambda: upstream(global_pool="max"), r"has pooling other than \('token', 'avg'\)"),
        (lambda: upstream(dynamic_img_size=True), r"has a dynamic image size, which a supernet cannot mix"),
        (lambda: upstream(qk_norm=True), r"has norms inside attention or MLP"),
        (lambda: upstream(scale_attn_norm=True), r"has norms inside attention or MLP"),
        (lambda: upstream(scale_mlp_norm=True), r"has norms inside attention or MLP"),
        (lambda: upstream(norm_layer="rmsnorm"), r"has norms other than layer norm"),
        (lambda: upstream(embed_norm_layer="layernorm"), r"has another patch embedding"),
        (lambda: upstream(attn_layer="diff", num_heads=2), r"has another attention"),
    ],
    ids=lambda value: "" if isinstance(value, str) else None,
)
def test_a_model_with_parts_that_cannot_be_mixed_is_refused(model, message: str):
    with pytest.raises(ValueError, match=message) as refusal:
        ViTSupernet(tiny_vit(), model())
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("kind", ["plain", "registers and class", "norm before the blocks"])
def test_the_weights_of_linear_maps_start_as_wide_as_asked(kind: str):
    for wide in (0.02, 0.1):
        changes: dict[str, Any] = {"embed_dim": [96], "depth": [1], "initializer_range": wide}
        torch.manual_seed(0)
        model = plain_model(tiny_vit(**{**KINDS[kind], **changes}), tiny_vit(**{**KINDS[kind], **changes}).largest)
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear):
                assert module.weight.std().item() == pytest.approx(wide, rel=0.15), name
                assert not module.bias.any()


def test_vit_supernets_are_in_float32_and_train_as_built():
    supernet = vit_supernet(tiny_vit(), torch.float32)
    assert all(parameter.dtype == torch.float32 and parameter.requires_grad for parameter in supernet.parameters())
