"""Spaces from files: nothing but a space is taken for one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from knotwork_spaces import SpaceDefinition, load_space, space_definition, space_from_dict
from knotwork_spaces.gpt2 import GPT2Space

SPACE = {"family": "gpt2", "embed_dim": [8, 16], "depth": [1, 2], "num_heads": [1, 2], "mlp_ratio": [2, 4]}


def test_a_file_is_read_as_a_preset_is(tmp_path: Path):
    file = tmp_path / "mine.yaml"
    file.write_text("""
family: gpt2
embed_dim: [8, 16]
depth: [1, 2]
num_heads: {options: [1, 2], granularity: per_layer}
mlp_ratio: {options: [0.5, 4]}
block_size: 32
recipe: {max_steps: 10}
""")
    options = {"embed_dim": [8, 16], "depth": [1, 2], "num_heads": [1, 2], "mlp_ratio": [0.5, 4]}
    assert load_space(str(file)) == SpaceDefinition("gpt2", options, ("num_heads",), {"block_size": 32}, {"max_steps": 10})


def test_settings_given_override_the_files():
    definition = space_definition({**SPACE, "vocab_size": 11, "block_size": 8})
    space = definition.build(block_size=5, dropout=0.1)
    assert isinstance(space, GPT2Space)
    assert (space.vocab_size, space.block_size, space.dropout) == (11, 5, 0.1)


@pytest.mark.parametrize("name", ["gpt-mano", "", "space.yam", "/"])
def test_unknown_presets_are_refused_with_the_list(name: str):
    with pytest.raises(ValueError, match=rf"unknown space '{name}': .*'gpt-nano', 'gpt-owt', 'gpt-shakespeare'"):
        load_space(name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", r"space.yaml is not a mapping of names to values, but None"),
        (b"gpt2", r"space.yaml is not a mapping .*but 'gpt2'"),
        (b"- 1\n- 2", r"space.yaml is not a mapping .*but \[1, 2\]"),
        (b"1: 2", r"space.yaml has the key 1: keys must be names"),
        (b"family: [", r"space.yaml cannot be read: ParserError"),
        (b"family: gpt2\n\tdepth: 3", r"space.yaml cannot be read: ScannerError"),
        (b"[" * 5000, r"space.yaml cannot be read: RecursionError"),
        (b"? [a]\n: b", r"space.yaml cannot be read: ConstructorError"),
        (b"family: !!python/object/apply:os.getcwd []", r"space.yaml cannot be read: ConstructorError"),
        (b"family: \xff", r"space.yaml cannot be read: UnicodeDecodeError"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_files_that_hold_no_space_are_refused(text: bytes, message: str, tmp_path: Path):
    file = tmp_path / "space.yaml"
    file.write_bytes(text)
    with pytest.raises(ValueError, match=message):
        load_space(str(file))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match=r"cannot read the space file '.*none.yaml'"):
        load_space(str(tmp_path / "none.yaml"))
    (tmp_path / "folder.yml").mkdir()
    with pytest.raises(ValueError, match=r"folder.yml is no regular file"):
        load_space(str(tmp_path / "folder.yml"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"family": None}, r"must name its family, such as 'family: gpt2', not None"),
        ({"family": ["gpt2"]}, r"must name its family, such as 'family: gpt2', not \['gpt2'\]"),
        ({"family": "bert"}, r"unknown family 'bert': known are \['gpt2', 'llama', 'toy-cell', 'vit'\]"),
        ({"recipe": [1]}, r"'recipe' is a mapping of search settings, not \[1\]"),
        ({"depth": 3}, r"'depth' needs a list of options, not 3"),
        ({"depth": []}, r"'depth' needs a list of options, not \[\]"),
        ({"depth": {"granularity": "uniform"}}, r"'depth' needs a list of options, not None"),
        ({"depth": [[1, 2], [3]]}, r"'depth' has options \[\[1, 2\], \[3\]\]: they must be numbers"),
        ({"depth": ["2"]}, r"'depth' has options \['2'\]: they must be numbers"),
        ({"depth": [True]}, r"'depth' has options \[True\]: they must be numbers"),
        ({"depth": [None]}, r"'depth' has options \[None\]: they must be numbers"),
        (
            {"num_heads": {"options": [1], "granularity": "layer"}},
            r"'num_heads' has granularity 'layer': known are \['uniform'",
        ),
        ({"num_heads": {"options": [1], "granularity": ["uniform"]}}, r"'num_heads' has granularity \['uniform'\]"),
        ({"num_heads": {"option": [1]}}, r"'num_heads' has the unknown keys \['option'\]: options, granularity"),
    ],
    ids=str,
)
def test_malformed_definitions_are_refused(changes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        space_definition({**SPACE, **changes})


@pytest.mark.parametrize("name", ["embed_dim", "depth", "num_heads", "mlp_ratio"])
def test_a_missing_choice_is_named(name: str):
    with pytest.raises(ValueError, match=rf"choice '{name}' is missing: a gpt2 space needs \['embed_dim', 'depth'"):
        space_definition({key: value for key, value in SPACE.items() if key != name})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": [1, 2]}, r"a gpt2 space does not fit these settings: .*'width'"),
        ({"vocab": 100}, r"a gpt2 space does not fit these settings: .*'vocab'"),
        ({"per_layer": ["depth"]}, r"a gpt2 space does not fit these settings: .*'per_layer'"),
        ({"dropout": "low"}, r"dropout is 'low': it must be at least 0"),
        ({"vocab_size": [100]}, r"vocab_size is \[100\]: it must be a positive whole number"),
        ({"embed_dim": {"options": [8], "granularity": "per_layer"}}, r"'embed_dim' cannot be made per layer"),
        ({"embed_dim": [float("inf")]}, r"'embed_dim' has options \[inf\]: they must be positive numbers"),
    ],
    ids=str,
)
def test_impossible_definitions_are_refused_when_built(changes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        space_definition({**SPACE, **changes}).build()


def json_values(numbers: st.SearchStrategy) -> st.SearchStrategy:
    leaves = st.none() | st.booleans() | numbers | st.text(max_size=6) | st.sampled_from(["gpt2", "uniform", "per_layer"])
    keys = st.text(max_size=6) | st.sampled_from([*SPACE, "options", "granularity", "recipe", "layers", "choices"])
    return st.recursive(leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4))


# Options beyond a float's range are a test of their own, in test_gpt2_space.py.
VALUES = json_values(st.integers(-(10**9), 10**9) | st.floats())
CHANGES = st.dictionaries(
    st.sampled_from([*SPACE, "recipe", "vocab_size", "block_size", "dropout", "else"]), VALUES, max_size=3
)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(values=json_values(st.integers() | st.floats()) | CHANGES.map(lambda changes: {**SPACE, **changes}))
def test_any_json_gives_a_definition_or_a_value_error(values: object):
    try:
        definition = space_definition(values)
    except ValueError:
        return
    assert isinstance(definition, SpaceDefinition)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(changes=CHANGES)
def test_any_definition_gives_a_space_or_a_value_error(changes: dict):
    try:
        space = space_definition({**SPACE, **changes}).build()
    except ValueError:
        return
    assert space_from_dict(json.loads(json.dumps(space.as_dict()))) == space


@settings(max_examples=50, derandomize=True, deadline=None)
@given(values=VALUES | st.fixed_dictionaries({"family": st.just("gpt2"), "choices": VALUES}))
def test_any_json_gives_a_stored_space_or_a_value_error(values: dict):
    try:
        space_from_dict(values)
    except ValueError:
        return
