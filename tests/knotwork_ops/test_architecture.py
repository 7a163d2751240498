from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from knotwork_ops import DEPTH, Architecture, Choice, SearchSpace

SPACE = SearchSpace((Choice("embed", (2, 4)), Choice(DEPTH, (1, 2, 3)), Choice("ratio", (1, 3.5), layers=3)))


@st.composite
def architectures(draw: st.DrawFn) -> Architecture:
    depth = draw(st.sampled_from([1, 2, 3]))
    ratios = draw(st.lists(st.sampled_from([1, 3.5]), min_size=depth, max_size=depth))
    return SPACE.architecture({"embed": draw(st.sampled_from([2, 4])), "depth": depth, "ratio": ratios})


@settings(derandomize=True, deadline=None)
@given(architecture=architectures())
def test_json_round_trip(architecture: Architecture):
    back = Architecture.from_json(architecture.to_json(), SPACE)
    assert back == architecture
    assert hash(back) == hash(architecture)
    assert back.to_json() == architecture.to_json()


def test_it_is_hashable_by_what_was_chosen():
    one = SPACE.architecture({"embed": 2, "depth": 2, "ratio": [1, 3.5]})
    same = SPACE.architecture({"ratio": (1.0, 3.5), "depth": 2, "embed": 2.0})
    other = SPACE.architecture({"embed": 2, "depth": 2, "ratio": [3.5, 1]})
    assert {one: "a", other: "b"}[same] == "a"
    assert len({one, same, other}) == 2


def test_it_is_a_mapping_in_the_order_of_the_space():
    architecture = SPACE.architecture({"ratio": [1, 3.5], "depth": 2, "embed": 4})
    assert list(architecture) == ["embed", "depth", "ratio"]
    assert dict(architecture) == {"embed": 4, "depth": 2, "ratio": (1, 3.5)}
    assert len(architecture) == 3
    with pytest.raises(KeyError, match="heads"):
        architecture["heads"]


def test_at_reads_per_layer_and_uniform_choices_alike():
    architecture = SPACE.architecture({"embed": 4, "depth": 2, "ratio": [1, 3.5]})
    assert [architecture.at("ratio", layer) for layer in range(2)] == [1, 3.5]
    assert [architecture.at("embed", layer) for layer in range(2)] == [4, 4]


@pytest.mark.parametrize(("ratio", "uniform"), [([1, 1, 1], True), ([1, 3.5, 1], False), ([3.5, 3.5, 1], False)])
def test_uniform(ratio: list[float], uniform: bool):
    assert SPACE.architecture({"embed": 4, "depth": 3, "ratio": ratio}).uniform is uniform


def test_one_layer_is_uniform():
    assert SPACE.architecture({"embed": 4, "depth": 1, "ratio": [3.5]}).uniform


def test_text():
    assert str(SPACE.architecture({"embed": 4, "depth": 2, "ratio": [1, 3.5]})) == "embed 4, depth 2, ratio 1/3.5"


@pytest.mark.parametrize("text", ["", "{", "embed 4", "{'embed': 4}", '{"embed": 4,}', "[" * 100_000])
def test_text_that_is_no_json_is_refused(text: str):
    with pytest.raises(ValueError, match=r"the JSON of an architecture cannot be read: (JSONDecode|Recursion)Error"):
        Architecture.from_json(text, SPACE)


@pytest.mark.parametrize("text", ["3", "null", "[]", '"embed"', "true"])
def test_json_that_is_no_object_is_refused(text: str):
    with pytest.raises(ValueError, match="the JSON of an architecture is not a mapping of names to values, but"):
        Architecture.from_json(text, SPACE)


@pytest.mark.parametrize("bad", ["NaN", "Infinity", "true", "null", '"4"', "[4]", "3", "1e999", "1" + "0" * 18])
def test_json_options_outside_the_space_are_refused(bad: str):
    text = f'{{"embed": {bad}, "depth": 1, "ratio": 1}}'
    with pytest.raises(ValueError, match="choice 'embed' cannot be .*: allowed are " + re.escape("[2, 4]")):
        Architecture.from_json(text, SPACE)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(text=st.text() | st.text(alphabet='{}[]",:0123456789.eE-+ embdpthraio', max_size=60))
def test_any_text_is_an_architecture_or_a_value_error(text: str):
    with contextlib.suppress(ValueError):
        assert isinstance(Architecture.from_json(text, SPACE), Architecture)
