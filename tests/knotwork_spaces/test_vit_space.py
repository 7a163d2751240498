"""What a ViT space refuses, and which timm models it names."""

from __future__ import annotations

import json
from typing import Any

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from knotwork_spaces import space_definition, space_from_dict
from knotwork_spaces.vit import ViTSpace, ViTSupernet, plain_model

from .comparison import GRANULARITIES
from .vit_cases import KINDS, REGISTERS, tiny_vit, vit_spaces

MODEL_NAMES = r"name one that timm.list_models\('vit_\*'\) lists"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"embed_dim": [8, 18]},
            r"embed_dim 18 is not divisible by num_heads 4: .*embed_dim \[8, 18\] or num_heads \[1, 2, 4\], .*head_dim",
        ),
        ({"num_heads": [1, 3]}, r"embed_dim 8 is not divisible by num_heads 3"),
        ({"mlp_ratio": [1, 2.3]}, r"MLP ratio 2.3 of embedding width 8 is 18.* hidden units: not a whole number"),
        ({"embed_dim": [8.5]}, r"'embed_dim' has the option 8.5: it must be a whole number"),
        ({"num_heads": [1.5]}, r"'num_heads' has the option 1.5: it must be a whole number"),
        ({"depth": [1.5]}, r"'depth' must be one whole number for the net"),
        ({"embed_dim": [16, 8]}, r"'embed_dim' has options \[16, 8\]: they must be distinct, ascending"),
        ({"embed_dim": []}, r"'embed_dim' has no options"),
        ({"depth": []}, r"'depth' has no options"),
        ({"depth": [0, 1]}, r"'depth' has options \[0, 1\]: they must be positive"),
        ({"mlp_ratio": [float("nan")]}, r"'mlp_ratio' has options \[nan\]: they must be positive"),
        ({"per_layer": ["embed_dim"]}, r"'embed_dim' cannot be made per layer: only \['num_heads', 'mlp_ratio'\] can"),
        ({"per_layer": ["depth"]}, r"'depth' cannot be made per layer"),
        ({"image_size": 7}, r"image_size 7 is not a multiple of patch_size 3: change one of them"),
        ({"image_size": 2}, r"image_size 2 is not a multiple of patch_size 3"),
        ({"image_size": 0}, r"image_size is 0: it must be a positive whole number"),
        ({"image_size": "224"}, r"image_size is '224': it must be a positive whole number"),
        ({"image_size": 6.0}, r"image_size is 6.0: it must be a positive whole number"),
        ({"image_size": (6, 6)}, r"image_size is \(6, 6\): it must be a positive whole number"),
        ({"image_size": True}, r"image_size is True: it must be a positive whole number"),
        ({"patch_size": 0}, r"patch_size is 0: it must be a positive whole number"),
        ({"patch_size": -3}, r"patch_size is -3: it must be a positive whole number"),
        ({"channels": 0}, r"channels is 0: it must be a positive whole number"),
        ({"num_classes": 0}, r"num_classes is 0: it must be a positive whole number"),
        ({"num_classes": None}, r"num_classes is None: it must be a positive whole number"),
        ({"head_dim": 0}, r"head_dim is 0: it must be a positive whole number"),
        ({"head_dim": 2.5}, r"head_dim is 2.5: it must be a positive whole number"),
        ({"global_pool": "map"}, r"global_pool is 'map': known are \['token', 'avg'\]"),
        ({"global_pool": ""}, r"global_pool is '': known are \['token', 'avg'\]"),
        ({"global_pool": ["token"]}, r"global_pool is \['token'\]: known are \['token', 'avg'\]"),
        ({"qkv_bias": 1}, r"qkv_bias is 1: it must be true or false"),
        ({"qkv_bias": "no"}, r"qkv_bias is 'no': it must be true or false"),
        ({"init_values": -0.1}, r"init_values is -0.1: it must be a number from 0"),
        ({"init_values": True}, r"init_values is True: it must be a number from 0"),
        ({"init_values": float("nan")}, r"init_values is nan: it must be a number from 0"),
        ({"drop_path_rate": 1}, r"drop_path_rate is 1: it must be a number from 0 to 0.999"),
        ({"drop_path_rate": "low"}, r"drop_path_rate is 'low': it must be a number from 0 to 0.999"),
        ({"dropout": -0.1}, r"dropout is -0.1: it must be a number from 0 to 0.999"),
        ({"dropout": float("nan")}, r"dropout is nan: it must be a number from 0 to 0.999"),
        ({"initializer_range": 0}, r"initializer_range is 0: it must be a number from 1e-06 to 1000"),
        ({"model": "vit_x"}, rf"unknown timm model 'vit_x': {MODEL_NAMES}"),
        ({"model": "hf-hub:timm/vit_tiny_patch16_224"}, rf"unknown timm model 'hf-hub:.*': {MODEL_NAMES}"),
        ({"model": None}, rf"unknown timm model None: {MODEL_NAMES}"),
        ({"model": ["vit_tiny_patch16_224"]}, rf"unknown timm model \['vit_tiny_patch16_224'\]: {MODEL_NAMES}"),
    ],
    ids=str,
)
def test_impossible_spaces_are_refused_when_they_are_built(changes: dict, message: str):
    with pytest.raises(ValueError, match=message) as refusal:
        tiny_vit(**changes)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("value", [float("inf"), 10**400], ids=["inf", "10**400"])
def test_an_infinite_layer_scale_is_refused(value: float):
    with pytest.raises(ValueError, match=rf"init_values is {str(value)[:20]}"):
        tiny_vit(init_values=value)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("resnet18", r"timm's resnet18 is a ResNet, not a VisionTransformer: name one of timm's vit_\* models"),
        ("mixer_s16_224", r"timm's mixer_s16_224 is a MlpMixer, not a VisionTransformer"),
        ("vit_relpos_small_patch16_224", r"is a VisionTransformerRelPos, not a VisionTransformer"),
        ("deit_tiny_distilled_patch16_224", r"has a class of its own, VisionTransformerDistilled, which a supernet cannot mix"),
        ("vit_base_patch16_siglip_224", r"has pooling other than \('token', 'avg'\), which a supernet cannot mix"),
        ("vit_small_patch16_18x2_224", r"has blocks of another kind, ParallelThingsBlock"),
        ("vit_base_patch16_rpn_224", r"has blocks of another kind, ResPostBlock"),
        ("vit_giant_patch14_dinov2", r"has another MLP"),
        ("vit_dwee_patch16_reg1_gap_256", r"has another attention"),
        ("beit3_base_patch16_224", r"has norms inside attention or MLP"),
        ("vit_intern300m_patch14_448", r"has a dynamic image size"),
        ("vit_tiny_r_s16_p8_224", r"has another patch embedding.*name a plain one such as vit_small_patch16_224"),
        ("vit_base_mci_224", r"timm's vit_base_mci_224 "),
        ("per_layer_vit", r"per_layer_vit"),
    ],
)
@pytest.mark.parametrize("changes", [{}, {"head_dim": 3}], ids=["shared", "fixed"])
def test_models_with_parts_that_cannot_be_mixed_are_refused(changes: dict, model: str, message: str):
    with pytest.raises(ValueError, match=message) as refusal, torch.device("meta"):
        ViTSupernet(tiny_vit(model=model, **changes))
    assert model in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_settings_that_a_model_does_not_allow_are_refused():
    space = tiny_vit(model=REGISTERS, global_pool="token")
    reason = "(.*class token|.*: AssertionError$)"  # timm's own; before 1.0.31 it gave none
    with pytest.raises(ValueError, match=rf"timm's {REGISTERS} cannot be built with .*'global_pool': 'token'{reason}"):
        plain_model(space, space.largest)


def test_a_model_name_may_carry_a_tag():
    """timm names a model's pretrained weights after a dot; the architecture is the same."""
    space = tiny_vit(["num_heads"], model="vit_base_patch16_224.augreg_in21k")
    assert {n: t.shape for n, t in ViTSupernet(space).state_dict().items()} == {
        n: t.shape for n, t in ViTSupernet(tiny_vit(model="vit_base_patch16_224")).state_dict().items()
    }


ARCH = {"embed_dim": 16, "depth": 3, "num_heads": 2, "mlp_ratio": 1.25}
COMMON = {"img_size": 6, "patch_size": 3, "in_chans": 3, "embed_dim": 16, "depth": 3}


def test_a_uniform_architecture_is_a_stock_timm_model():
    space = tiny_vit()
    name, arguments = space.timm_model(space.architecture(ARCH))
    assert (name, arguments) == ("vit_tiny_patch16_224", {**COMMON, "num_heads": 2, "mlp_ratio": 1.25})
    model = timm.create_model(name, num_classes=7, **arguments)
    assert type(model).__name__ == "VisionTransformer"


def test_settings_reach_timm_where_they_are_given():
    given_to_timm = {"global_pool": "avg", "qkv_bias": False, "init_values": 0.1, "drop_path_rate": 0.2}
    space = tiny_vit(**given_to_timm, dropout=0.3)
    _, arguments = space.timm_model(space.architecture(ARCH))
    assert arguments == {**COMMON, "num_heads": 2, "mlp_ratio": 1.25, **given_to_timm, "proj_drop_rate": 0.3}


@pytest.mark.parametrize(
    ("heads", "ratio", "stock"),
    [
        ([2, 2, 2], [3, 3, 3], True),
        ([2, 4, 2], [3, 3, 3], False),
        ([2, 2, 2], [3, 3, 0.5], False),
        ([1, 2, 4], [0.5, 1.25, 3], False),
    ],
)
def test_only_what_differs_between_layers_needs_custom_code(heads: list[int], ratio: list[float], stock: bool):
    space = tiny_vit(GRANULARITIES["per_layer"])
    arch = space.architecture({"embed_dim": 16, "depth": 3, "num_heads": heads, "mlp_ratio": ratio})
    name, arguments = space.timm_model(arch)
    assert space.stock(arch) is stock
    assert name == ("vit_tiny_patch16_224" if stock else "per_layer_vit")
    if not stock:
        hidden = [round(16 * option) for option in ratio]
        sizes = {"base": "vit_tiny_patch16_224", "heads_per_layer": heads, "hidden_per_layer": hidden}
        assert arguments == {**COMMON, **sizes}


@pytest.mark.parametrize(("head_dim", "stock"), [(8, True), (4, False), (5, False), (None, True)])
def test_fixed_heads_are_stock_where_they_fill_the_embedding(head_dim: int | None, stock: bool):
    space = tiny_vit(head_dim=head_dim)
    arch = space.architecture(ARCH)
    name, arguments = space.timm_model(arch)
    assert space.stock(arch) is stock
    assert name == ("vit_tiny_patch16_224" if stock else "per_layer_vit")
    assert arguments.get("head_dim") == (None if stock else head_dim)


def test_ratios_with_a_rounding_error_still_give_whole_units():
    """timm rounds width x ratio down, so a ratio that is a little too small would cost a unit."""
    for embed, ratio in ((40, 4.1), (10, 0.7), (49, 1 / 49 * 35), (240, 3.5), (1000, 2.001)):
        space = tiny_vit(embed_dim=[embed], num_heads=[1], mlp_ratio=[ratio], depth=[1])
        model: Any = plain_model(space, space.largest)
        assert model.blocks[0].mlp.fc1.out_features == round(embed * ratio)


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_space_survives_its_dictionary(kind: str, granularity: str):
    space = tiny_vit(GRANULARITIES[granularity], **KINDS[kind], drop_path_rate=0.1, dropout=0.2, initializer_range=0.05)
    values = json.loads(json.dumps(space.as_dict()))
    assert values == space.as_dict()
    assert values["family"] == "vit"
    restored = space_from_dict(values)
    assert type(restored) is ViTSpace
    assert restored == space


@settings(max_examples=30, derandomize=True, deadline=None)
@given(space=vit_spaces())
def test_any_space_survives_its_dictionary(space: ViTSpace):
    assert space_from_dict(json.loads(json.dumps(space.as_dict()))) == space


def test_a_stored_space_with_other_layers_is_refused():
    values = tiny_vit(GRANULARITIES["per_layer"]).as_dict()
    values["choices"]["num_heads"]["layers"] = 7
    with pytest.raises(ValueError, match=r"'num_heads' is made in 7 layers, but the largest depth is 3"):
        space_from_dict(values)
    with pytest.raises(ValueError, match=r"a vit space does not fit these settings: .*'vocab_size'"):
        space_from_dict({**tiny_vit().as_dict(), "vocab_size": 3})


SPACE = {"family": "vit", "embed_dim": [8, 16], "depth": [1, 2], "num_heads": [1, 2], "mlp_ratio": [2, 4]}
FIELDS = [
    *SPACE,
    "recipe",
    "model",
    "image_size",
    "patch_size",
    "channels",
    "num_classes",
    "head_dim",
    "global_pool",
    "qkv_bias",
    "init_values",
    "drop_path_rate",
    "dropout",
    "initializer_range",
    "else",
]
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["vit", "gpt2", "token", "avg", "per_layer", "vit_tiny_patch16_224", "resnet18"])
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
)


@settings(max_examples=150, derandomize=True, deadline=None)
@given(changes=st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=3))
def test_any_definition_gives_a_space_or_a_value_error(changes: dict):
    try:
        space = space_definition({**SPACE, **changes}).build()
    except ValueError:
        return
    assert space_from_dict(json.loads(json.dumps(space.as_dict()))) == space
