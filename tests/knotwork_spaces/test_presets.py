"""The named spaces are what they promise: options, granularity, settings, and a recipe that a search can follow."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from knotwork_spaces import family, load_space, preset_names, presets_of, space_from_dict


class Promise(NamedTuple):
    family: str
    embed_dim: list[int]
    depth: list[int]
    num_heads: list[int]
    mlp_ratio: list[float]
    per_layer: tuple[str, ...]
    settings: dict[str, Any]

    @property
    def options(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("embed_dim", "depth", "num_heads", "mlp_ratio")}


BOTH = ("num_heads", "mlp_ratio")
IMAGENET = {"image_size": 224, "patch_size": 16, "drop_path_rate": 0.1}
FIXED = {**IMAGENET, "head_dim": 64}
OWT = {"vocab_size": 50304, "block_size": 1024}
STORIES = {"vocab_size": 50304, "block_size": 224}
NANO = {"initializer_range": 0.06}
TABLE = {
    "gpt-nano": Promise("gpt2", [64, 96, 128], [2, 3, 4], [2, 4, 8], [2, 3, 4], (), {"block_size": 128, **NANO}),
    "gpt-shakespeare": Promise("gpt2", [96, 192, 384], [4, 5, 6], [2, 4, 6], [2, 3, 4], (), {"block_size": 256}),
    "gpt-tinystories": Promise("gpt2", [384, 576, 768], [5, 6, 7], [6, 8, 12], [2, 3, 4], BOTH, STORIES),
    "gpt-owt": Promise("gpt2", [192, 384, 768], [10, 11, 12], [6, 8, 12], [2, 3, 4], BOTH, OWT),
    "vit-nano": Promise("vit", [48, 72, 96], [3, 4, 5], [2, 3, 4], [2, 3, 4], (), NANO),
    "autoformer-tiny": Promise("vit", [192, 216, 240], [12, 13, 14], [3, 4], [3.5, 4], BOTH, IMAGENET),
    "autoformer-tiny-64": Promise("vit", [192, 216, 240], [12, 13, 14], [3, 4], [3.5, 4], BOTH, FIXED),
    "autoformer-small": Promise("vit", [320, 384, 448], [12, 13, 14], [5, 6, 7], [3, 3.5, 4], BOTH, FIXED),
    "autoformer-base": Promise("vit", [528, 576, 624], [14, 15, 16], [8, 9, 10], [3, 3.5, 4], BOTH, FIXED),
}

AROUND = {"gpt2-pretrained": "gpt2", "vit-pretrained": "vit", "llama-pretrained": "llama"}
"""Presets of shares by family, which only a checkpoint completes: test_pretrained.py."""

names = pytest.mark.parametrize("name", TABLE)


def test_every_preset_is_in_the_table():
    # Cells have no sizes, and Llamas other ones: test_cells_space.py and test_llama_space.py have them.
    assert preset_names() == sorted({*TABLE, *presets_of("llama"), "toy-cell", *AROUND})


def test_presets_of_a_family():
    families = {preset: promise.family for preset, promise in TABLE.items()} | AROUND
    for name in ("gpt2", "vit"):
        assert presets_of(name) == [preset for preset in sorted(families) if families[preset] == name]
    assert presets_of("bert") == []


@names
def test_presets_are_what_they_promise(name: str):
    promise, definition = TABLE[name], load_space(name)
    assert definition.family == promise.family
    assert definition.options == promise.options
    assert definition.per_layer == promise.per_layer
    assert definition.settings == promise.settings
    space = definition.build()
    assert isinstance(space, family(promise.family).space)
    assert {choice.name: list(choice.options) for choice in space} == promise.options
    assert {choice.name for choice in space if choice.per_layer} == set(promise.per_layer)
    assert {setting: getattr(space, setting) for setting in promise.settings} == promise.settings
    assert space_from_dict(space.as_dict()) == space
    assert {"max_steps", "batch_size", "learning_rate"} <= set(definition.recipe)


@pytest.mark.parametrize("name", sorted({*presets_of("gpt2")} - {*AROUND}))
def test_presets_of_language_models_name_a_tokenizer(name: str):
    assert "tokenizer" in load_space(name).recipe


@pytest.mark.parametrize("name", sorted({*presets_of("vit")} - {*AROUND}))
def test_presets_of_image_models_take_the_datas_sizes(name: str):
    definition = load_space(name)
    space: Any = definition.build(image_size=32, patch_size=4, channels=1, num_classes=10)
    assert (space.image_size, space.patch_size, space.channels, space.num_classes, space.tokens) == (32, 4, 1, 10, 64)
    assert space.head_dim == definition.settings.get("head_dim")


@names
def test_granularity_can_be_changed(name: str):
    definition = load_space(name)
    for spelling in ("per_layer", "per-layer"):
        changed = definition.with_granularity(spelling)
        assert changed.per_layer == BOTH
        kept = (definition.options, definition.settings, definition.recipe)
        assert (changed.options, changed.settings, changed.recipe) == kept
        assert changed.with_granularity("uniform").per_layer == ()
    with pytest.raises(ValueError, match=r"unknown granularity 'layerwise': known are \['uniform', 'per_layer'\]"):
        definition.with_granularity("layerwise")
