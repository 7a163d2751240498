from __future__ import annotations

import re
import reprlib
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from knotwork_ops import DEPTH, Architecture, Choice, Mixture, SearchSpace

SPACE = SearchSpace((Choice("embed", (2, 4)), Choice(DEPTH, (1, 3)), Choice("ratio", (1, 3.5), layers=3)))
FLAT = SearchSpace((Choice("heads", (2, 4), layers=2),))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "choice 'embed' has no options"),
        ((0, 1), r"choice 'embed' has options \[0, 1\]: they must be positive numbers"),
        ((-2, 1), r"choice 'embed' has options \[-2, 1\]: they must be positive"),
        ((True, 2), r"choice 'embed' has options \[True, 2\]: they must be positive numbers"),
        (("2", 4), r"choice 'embed' has options \['2', 4\]: they must be positive numbers"),
        ((1, float("inf")), r"choice 'embed' has options \[1, inf\]: they must be positive numbers"),
        ((float("nan"), 1), r"choice 'embed' has options \[nan, 1\]: they must be positive numbers"),
        ((4, 2), r"choice 'embed' has options \[4, 2\]: they must be distinct, ascending"),
        ((2, 2), r"choice 'embed' has options \[2, 2\]: they must be distinct, ascending"),
        ((2, 2.0), r"choice 'embed' has options \[2, 2.0\]: they must be distinct, ascending"),
        (("conv", 4), r"choice 'embed' has options \['conv', 4\]: they must be positive numbers"),
        ((4, "conv"), r"choice 'embed' has options \[4, 'conv'\]: they must be positive numbers"),
        (("conv", None), r"choice 'embed' has options \['conv', None\]: they must be positive numbers"),
        (("conv", "pool", "conv"), r"choice 'embed' has options \['conv', 'pool', 'conv'\]: they must be distinct"),
        (("conv", ""), r"choice 'embed' has options \['conv', ''\]: a name must not be empty"),
    ],
)
def test_options_that_are_refused(options: Any, message: str):
    with pytest.raises(ValueError, match=message):
        Choice("embed", options)


OPERATIONS = SearchSpace((Choice("edge", ("pool", "conv")), Choice("cell", ("b", "a", "c"), layers=2)))


def test_names_keep_their_order():
    assert Choice("edge", ("pool", "conv")).options == ("pool", "conv")
    assert OPERATIONS["cell"].shape == (2, 3)
    assert OPERATIONS["edge"].index("conv") == 1
    assert OPERATIONS.smallest.as_dict() == {"edge": "pool", "cell": ["b", "b"]}
    assert OPERATIONS.largest.as_dict() == {"edge": "conv", "cell": ["c", "c"]}


def test_architectures_of_names():
    architecture = OPERATIONS.architecture({"edge": "conv", "cell": ["a", "b"]})
    assert str(architecture) == "edge conv, cell a/b"
    assert architecture.at("cell", 1) == "b"
    assert Architecture.from_json(architecture.to_json(), OPERATIONS) == architecture
    assert OPERATIONS.architecture({"edge": "conv", "cell": "a"})["cell"] == ("a", "a")
    assert OPERATIONS.as_dict()["choices"]["edge"] == {"options": ["pool", "conv"], "layers": None}
    assert Mixture.one_hot(OPERATIONS, architecture)["cell"].tolist() == [[0, 1, 0], [1, 0, 0]]


@pytest.mark.parametrize("bad", ["con", "", 1, None, True, ["conv"], {}], ids=repr)
def test_bad_names_are_named_with_what_is_allowed(bad: Any):
    message = re.escape(f"choice 'edge' cannot be {reprlib.repr(bad)}: allowed are ['pool', 'conv']")
    with pytest.raises(ValueError, match=message):
        OPERATIONS.architecture({"edge": bad, "cell": "a"})


def test_numbers():
    assert Choice("ratio", (2, 3.5)).numbers == (2, 3.5)
    with pytest.raises(ValueError, match=r"choice 'edge' has options \['pool', 'conv'\]: they must be positive numbers"):
        _ = OPERATIONS["edge"].numbers


@pytest.mark.parametrize("layers", [0, -1, True, 2.5])
def test_layers_must_be_a_positive_whole_number(layers: Any):
    with pytest.raises(ValueError, match=f"choice 'embed' is made in {layers} layers: it must be a whole number from 1"):
        Choice("embed", (1, 2), layers=layers)


def test_shape():
    assert Choice("embed", (2, 4, 8)).shape == (3,)
    assert Choice("embed", (2, 4, 8), layers=5).shape == (5, 3)
    assert not Choice("embed", (2, 4)).per_layer
    assert Choice("embed", (2, 4), layers=1).per_layer


def test_index_names_the_choice_the_value_and_the_options():
    choice = Choice("ratio", (2, 3.5))
    assert choice.index(3.5) == 1
    assert choice.index(2.0) == 0
    with pytest.raises(ValueError, match=re.escape("choice 'ratio' cannot be 3: allowed are [2, 3.5]")):
        choice.index(3)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ((Choice("a", (1,)), Choice("b", (1,)), Choice("a", (2,))), r"choice 'a' stands twice .*\['a', 'b', 'a'\]"),
        ((Choice(DEPTH, (1, 2), layers=2),), "choice 'depth' must be one whole number for the net"),
        ((Choice(DEPTH, (1.5, 2)),), "choice 'depth' must be one whole number for the net"),
        ((Choice(DEPTH, ("1", "2")),), "choice 'depth' must be one whole number for the net"),
        ((Choice(DEPTH, (1, 2)), Choice("a", (1,), layers=3)), "choice 'a' is made in 3 layers, but the largest depth is 2"),
    ],
)
def test_spaces_that_are_refused(choices: tuple[Choice, ...], message: str):
    with pytest.raises(ValueError, match=message):
        SearchSpace(choices)


def test_a_space_is_read_by_name_and_in_order():
    assert [choice.name for choice in SPACE] == ["embed", "depth", "ratio"]
    assert SPACE["embed"].options == (2, 4)
    assert "ratio" in SPACE
    assert "heads" not in SPACE
    with pytest.raises(KeyError, match=r"no choice 'heads' in this search space: it has \['embed', 'depth', 'ratio'\]"):
        SPACE["heads"]


def test_layers_used():
    values = {"embed": 2, "depth": 1, "ratio": 1}
    assert SPACE.layers_used(SPACE["embed"], values) is None
    assert SPACE.layers_used(SPACE["ratio"], values) == 1
    assert FLAT.layers_used(FLAT["heads"], {"heads": 2}) == 2


def test_per_layer_values_are_as_long_as_the_depth():
    deep = SPACE.architecture({"embed": 2, "depth": 3, "ratio": [1, 3.5, 1]})
    shallow = SPACE.architecture({"embed": 2, "depth": 1, "ratio": [3.5]})
    assert deep["ratio"] == (1, 3.5, 1)
    assert shallow["ratio"] == (3.5,)
    message = re.escape("choice 'ratio' has 3 values [1, 1, 1] for 1 layers")
    with pytest.raises(ValueError, match=message):
        SPACE.architecture({"embed": 2, "depth": 1, "ratio": (1, 1, 1)})
    with pytest.raises(ValueError, match=re.escape("choice 'heads' has 1 values [2] for 2 layers")):
        FLAT.architecture({"heads": [2]})


def test_one_number_for_a_per_layer_choice_is_that_option_in_every_layer():
    assert SPACE.architecture({"embed": 2, "depth": 3, "ratio": 3.5})["ratio"] == (3.5, 3.5, 3.5)
    assert SPACE.architecture({"embed": 2, "depth": 1, "ratio": 3.5})["ratio"] == (3.5,)


def test_options_come_back_as_the_space_writes_them():
    """4.0 is 4, so that equal architectures have one hash and one JSON text."""
    architecture = SPACE.architecture({"ratio": 1.0, "depth": 3.0, "embed": 4.0})
    assert architecture == SPACE.architecture({"embed": 4, "depth": 3, "ratio": (1, 1, 1)})
    assert architecture.to_json() == '{"embed": 4, "depth": 3, "ratio": [1, 1, 1]}'


GOOD = {"embed": 2, "depth": 3, "ratio": 1}
BAD_OPTIONS = [True, False, None, float("nan"), float("inf"), "2", "", 5, -2, 0, 10**400]
BAD_OPTIONS += [[2], [[2]], (), {}, {"a": 1}, 2.0000001]


@pytest.mark.parametrize("bad", BAD_OPTIONS, ids=lambda bad: repr(bad)[:20])
@pytest.mark.parametrize(("name", "allowed"), [("embed", "[2, 4]"), ("depth", "[1, 3]")])
def test_bad_options_are_named_with_what_is_allowed(name: str, allowed: str, bad: Any):
    with pytest.raises(ValueError, match=re.escape(f"choice {name!r} cannot be {reprlib.repr(bad)}: allowed are {allowed}")):
        SPACE.architecture({**GOOD, name: bad})


@pytest.mark.parametrize("bad", [b for b in BAD_OPTIONS if not isinstance(b, list | tuple)], ids=lambda bad: repr(bad)[:20])
def test_bad_options_of_a_layer_are_named(bad: Any):
    message = re.escape(f"choice 'ratio' cannot be {reprlib.repr(bad)}: allowed are [1, 3.5]")
    with pytest.raises(ValueError, match=message):
        SPACE.architecture({**GOOD, "ratio": bad})
    with pytest.raises(ValueError, match=message):
        SPACE.architecture({**GOOD, "ratio": [1, bad, 1]})


def test_nested_lists_are_refused():
    with pytest.raises(ValueError, match=re.escape("choice 'ratio' cannot be [1]: allowed are [1, 3.5]")):
        SPACE.architecture({**GOOD, "ratio": [1, [1], 1]})


def test_missing_and_unknown_choices_are_named():
    with pytest.raises(ValueError, match=re.escape("choice 'ratio' is missing: allowed are [1, 3.5]")):
        SPACE.architecture({"embed": 2, "depth": 3})
    with pytest.raises(ValueError, match=re.escape("choice 'depth' is missing: allowed are [1, 3]")):
        SPACE.architecture({"embed": 2, "ratio": 1})
    message = re.escape("unknown choice 'heads' = 4: this space has ['embed', 'depth', 'ratio']")
    with pytest.raises(ValueError, match=message):
        SPACE.architecture({**GOOD, "heads": 4})


@pytest.mark.parametrize("values", [None, 3, "embed", ["embed"], [["embed", 2]]])
def test_what_is_no_mapping_is_refused(values: Any):
    message = re.escape(f"an architecture is a mapping of choices to options, not {values!r}")
    with pytest.raises(ValueError, match=message):
        SPACE.architecture(values)


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from([1, 2, 3, 3.5, 4, 1.0])
)
names = st.sampled_from(["embed", "depth", "ratio"]) | st.text(max_size=5)
any_json = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4), max_leaves=10
)
likely = st.fixed_dictionaries(
    {"embed": st.sampled_from([2, 4]) | scalars, "depth": st.sampled_from([1, 3]) | scalars},
    optional={"ratio": st.lists(st.sampled_from([1, 3.5]) | scalars, max_size=4) | scalars, "more": scalars},
)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(values=likely | any_json)
@example(values={"embed": 2, "depth": 3, "ratio": 10**5000})
@example(values={"embed": [[]], "depth": {}, "ratio": None})
def test_any_json_is_an_architecture_or_a_value_error(values: Any):
    try:
        architecture = SPACE.architecture(values)
    except ValueError:
        return
    assert isinstance(architecture, Architecture)
    assert architecture["embed"] in (2, 4)
    assert architecture["depth"] in (1, 3)
    assert len(architecture["ratio"]) == architecture["depth"]
    assert set(architecture["ratio"]) <= {1, 3.5}
    assert SPACE.architecture(architecture) == architecture
    assert Architecture.from_json(architecture.to_json(), SPACE) == architecture


def test_validate():
    SPACE.validate(GOOD)
    with pytest.raises(ValueError, match=re.escape("choice 'embed' cannot be 3: allowed are [2, 4]")):
        SPACE.validate({**GOOD, "embed": 3})


def test_largest_and_smallest():
    assert SPACE.largest.as_dict() == {"embed": 4, "depth": 3, "ratio": [3.5, 3.5, 3.5]}
    assert SPACE.smallest.as_dict() == {"embed": 2, "depth": 1, "ratio": [1]}


def test_as_dict():
    assert FLAT.as_dict() == {"choices": {"heads": {"options": [2, 4], "layers": 2}}}
