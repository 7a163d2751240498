"""The toy-cell space: what it is made of, what it refuses, and how it is written down."""

from __future__ import annotations

import json
import math

import pytest
from knotwork_spaces import SpaceDefinition, load_space, space_definition, space_from_dict
from knotwork_spaces.cells import OPERATIONS, ToyCellNetwork, ToyCellSpace

from .cells_cases import tiny_cells

ALL = {name: list(OPERATIONS) for name in ToyCellSpace.choice_names}


def test_the_benchmarks_space():
    space = ToyCellSpace.build()
    assert math.prod(len(choice.options) for choice in space) == 4096
    assert [choice.name for choice in space] == [
        f"{cell}_{edge}" for cell in ("normal", "reduce") for edge in ("0_1", "0_2", "1_2")
    ]
    assert space.smallest.as_dict() == dict.fromkeys(ALL, "dil_conv_3x3")
    assert space.largest.as_dict() == dict.fromkeys(ALL, "sep_conv_5x5")
    assert space.sizes == {"image_size": 28, "channels": 1, "num_classes": 10, "width": 32, "dropout": 0.2}


def test_the_preset_is_it():
    definition = load_space("toy-cell")
    assert (definition.family, definition.options, definition.per_layer) == ("toy-cell", ALL, ())
    assert definition.build() == ToyCellSpace.build()
    assert {"max_steps", "batch_size", "learning_rate"} <= set(definition.recipe)
    assert definition.with_granularity("per_layer") == definition


def test_a_space_is_stored_and_read_again():
    space = tiny_cells(normal_0_1=["sep_conv_3x3"], reduce_1_2=["dil_conv_3x3", "sep_conv_5x5"])
    assert space_from_dict(json.loads(json.dumps(space.as_dict()))) == space


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"normal_0_1": ["conv_3x3"]}, r"choice 'normal_0_1' has the operation 'conv_3x3': known are \['dil_conv_3x3', 'dil"),
        ({"normal_0_1": [3, 5]}, r"choice 'normal_0_1' has the operation 3: known are \['dil_conv_3x3'"),
        (
            {"reduce_0_2": ["sep_conv_3x3", "dil_conv_5x5"]},
            r"choice 'reduce_0_2' has operations \['sep_.*'\]: list them from the cheapest on, \['dil_conv_5x5', 'sep_",
        ),
        ({"reduce_0_2": []}, "choice 'reduce_0_2' has no options"),
        ({"per_layer": ["normal_0_1"]}, "choice 'normal_0_1' cannot be made per layer: cells have edges"),
        ({"image_size": 4}, "image_size is 4: it must be at least 5"),
        ({"width": 7}, "width is 7: it must be at least 8"),
        ({"channels": 0}, "channels is 0: it must be a positive whole number"),
        ({"num_classes": 2.5}, "num_classes is 2.5: it must be a positive whole number"),
        ({"dropout": 1}, "dropout is 1: it must be at least 0 and below 1"),
        ({"dropout": "low"}, "dropout is 'low': it must be at least 0 and below 1"),
    ],
    ids=str,
)
def test_impossible_spaces_are_refused(changes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        tiny_cells(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"normal_0_1": [3, 5]}, r"choice 'normal_0_1' has options \[3, 5\]: they must be names"),
        (
            {"normal_0_1": ["sep_conv_3x3", None]},
            r"choice 'normal_0_1' has options \['sep_conv_3x3', None\]: they must be names",
        ),
        ({"normal_0_1": "sep_conv_3x3"}, "choice 'normal_0_1' needs a list of options, not 'sep_conv_3x3'"),
    ],
    ids=str,
)
def test_malformed_definitions_are_refused(changes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        space_definition({"family": "toy-cell", **ALL, **changes})


def test_a_setting_of_another_family_is_refused():
    definition = space_definition({"family": "toy-cell", **ALL, "patch_size": 2})
    assert isinstance(definition, SpaceDefinition)
    with pytest.raises(ValueError, match=r"a toy-cell space does not fit these settings: .*'patch_size'"):
        definition.build()


def test_a_plain_network_of_an_unknown_operation_is_refused():
    with pytest.raises(ValueError, match=r"an architecture names one of .*sep_conv_5x5.* for each of .*reduce_1_2"):
        ToyCellNetwork({**dict.fromkeys(ALL, "sep_conv_3x3"), "normal_0_1": "max_pool"})
