"""The timm model that travels with an export: built by timm alone, each layer of its own size."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from knotwork_spaces.vit import per_layer_vit as build
from timm.layers.attention import Attention
from timm.layers.mlp import Mlp
from timm.models.vision_transformer import VisionTransformer

from .comparison import assert_close
from .vit_cases import CLIP, REGISTERS, spread

# The package exports the function under the module's own name.
module: Any = import_module("knotwork_spaces.vit.per_layer_vit")

SIZES: dict[str, Any] = {"img_size": 6, "patch_size": 3, "embed_dim": 12, "depth": 3, "num_classes": 5}
LAYERS: dict[str, Any] = {"heads_per_layer": [1, 4, 2], "hidden_per_layer": [7, 24, 1]}


def created(**changes: Any) -> Any:
    return timm.create_model("per_layer_vit", **{**SIZES, **LAYERS, **changes})


def assembled(base: str = "vit_tiny_patch16_224", head_dim: int | None = None, **changes: Any) -> Any:
    """The same from a stock model whose blocks get their maps one by one."""
    model: Any = timm.create_model(base, **{**SIZES, "num_heads": 1, "mlp_ratio": 1, **changes})
    for block, heads, hidden in zip(model.blocks, LAYERS["heads_per_layer"], LAYERS["hidden_per_layer"], strict=True):
        block.attn = Attention(12, heads, attn_head_dim=head_dim, qkv_bias=block.attn.qkv.bias is not None)
        block.mlp = Mlp(12, hidden)
    return model


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"head_dim": 5},
        {"base": REGISTERS},
        {"base": REGISTERS, "head_dim": 4},
        {"base": CLIP, "in_chans": 1},
        {"qkv_bias": False, "init_values": 0.1, "global_pool": "avg"},
    ],
    ids=str,
)
def test_it_is_the_stock_model_with_layers_of_their_own(changes: dict):
    model, expected = created(**changes).eval(), assembled(**changes).eval()
    spread(model)
    expected.load_state_dict(model.state_dict())
    image = torch.randn(2, changes.get("in_chans", 3), 6, 6, generator=torch.Generator().manual_seed(0))
    assert_close(model(image), expected(image), "logits")
    assert [block.attn.num_heads for block in model.blocks] == [1, 4, 2]
    assert [block.mlp.fc1.out_features for block in model.blocks] == [7, 24, 1]
    assert [block.attn.scale for block in model.blocks] == [block.attn.scale for block in expected.blocks]


def test_without_pretrained_weights_it_is_built_and_loads():
    model, other = created(pretrained=False), created(pretrained=False)
    other.load_state_dict(model.state_dict())
    image = torch.randn(1, 3, 6, 6)
    assert torch.equal(model.eval()(image), other.eval()(image))
    assert isinstance(build(**SIZES, **LAYERS), VisionTransformer)


def test_depth_follows_the_lists():
    sizes = {name: value for name, value in SIZES.items() if name != "depth"}
    model: Any = timm.create_model("per_layer_vit", **sizes, **LAYERS)
    assert len(model.blocks) == 3


@pytest.mark.parametrize(
    ("heads", "hidden", "depth"),
    [([2], [8, 8], 2), ([2, 2], [8], 2), ([2, 2, 2], [8, 8, 8], 2), ([2, 2], [8, 8], 3), ([], [], 1), ([2, 2], [8], None)],
    ids=str,
)
def test_lists_of_another_length_are_refused(heads: list[int], hidden: list[int], depth: int | None):
    sizes = {**SIZES, "depth": depth} if depth else {name: value for name, value in SIZES.items() if name != "depth"}
    layers = depth or len(heads)
    message = rf"heads_per_layer \{heads} and hidden_per_layer \{hidden} must each name {layers} layers \(depth\)"
    with pytest.raises(ValueError, match=message.replace("]", r"\]")):
        timm.create_model("per_layer_vit", **sizes, heads_per_layer=heads, hidden_per_layer=hidden)


@settings(max_examples=500, derandomize=True, deadline=None)
@given(dim=st.integers(1, 4096), hidden=st.integers(1, 16384))
@example(dim=49, hidden=1)
@example(dim=4096, hidden=16384)
@example(dim=4095, hidden=16383)
@example(dim=10, hidden=7)
def test_the_exact_ratio_gives_exactly_so_many_units(dim: int, hidden: int):
    assert int(dim * module.exact_ratio(dim, hidden)) == hidden


def test_a_ratio_that_is_exact_stays_as_it_is():
    assert module.exact_ratio(240, 840) == 3.5
    assert module.exact_ratio(192, 768) == 4.0


def test_the_file_travels_alone():
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    roots: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            roots |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import does not resolve in an exported folder"
            roots.add((node.module or "").split(".")[0])
    assert roots <= {"math", "typing", "torch", "timm", "transformers"}
