from __future__ import annotations

import re

import pytest
import torch
from knotwork_ops import DEPTH, Choice, HardSample, Mixture, SearchSpace

SPACE = SearchSpace((Choice("embed", (2, 4)), Choice(DEPTH, (1, 3)), Choice("ratio", (1, 2, 3.5), layers=3)))


def uniform_weights() -> dict[str, torch.Tensor]:
    return {choice.name: torch.full(choice.shape, 1 / len(choice.options)) for choice in SPACE}


def test_it_is_a_mapping_of_weights():
    weights = uniform_weights()
    mixture = Mixture(SPACE, weights)
    assert list(mixture) == ["embed", "depth", "ratio"]
    assert len(mixture) == 3
    assert mixture["ratio"] is weights["ratio"]


def test_at_reads_per_layer_and_uniform_choices_alike():
    weights = {**uniform_weights(), "ratio": torch.rand(3, 3)}
    mixture = Mixture(SPACE, weights)
    assert torch.equal(mixture.at("ratio", 2), weights["ratio"][2])
    assert torch.equal(mixture.at("embed", 2), weights["embed"])


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("embed", (3,), "(2,)"),
        ("embed", (1, 2), "(2,)"),
        ("embed", (), "(2,)"),
        ("ratio", (3,), "(3, 3)"),
        ("ratio", (2, 3), "(3, 3)"),
    ],
)
def test_wrong_shapes_are_named(name: str, shape: tuple[int, ...], expected: str):
    message = re.escape(f"mixture of choice {name!r} has shape {shape}: expected {expected}")
    with pytest.raises(ValueError, match=message):
        Mixture(SPACE, {**uniform_weights(), name: torch.zeros(shape)})


def test_missing_and_unknown_choices_are_named():
    weights = uniform_weights()
    needed = re.escape("a mixture of this space needs the choices ['embed', 'depth', 'ratio'], not ")
    with pytest.raises(ValueError, match=needed + re.escape("['embed', 'depth', 'ratio', 'heads']")):
        Mixture(SPACE, {**weights, "heads": torch.ones(2)})
    del weights["depth"]
    with pytest.raises(ValueError, match=needed + re.escape("['embed', 'ratio']")):
        Mixture(SPACE, weights)


def test_one_hot():
    architecture = SPACE.architecture({"embed": 4, "depth": 3, "ratio": [2, 3.5, 1]})
    mixture = Mixture.one_hot(SPACE, architecture)
    assert mixture["embed"].tolist() == [0, 1]
    assert mixture["depth"].tolist() == [0, 1]
    assert mixture["ratio"].tolist() == [[0, 1, 0], [0, 0, 1], [1, 0, 0]]


def test_one_hot_beyond_the_depth_is_still_a_mixture():
    mixture = Mixture.one_hot(SPACE, SPACE.architecture({"embed": 2, "depth": 1, "ratio": [3.5]}))
    assert mixture["ratio"].tolist() == [[0, 0, 1], [1, 0, 0], [1, 0, 0]]
    assert all(torch.equal(weights.sum(-1), torch.ones(weights.shape[:-1])) for weights in mixture.values())


def test_one_hot_takes_dtype_and_device():
    mixture = Mixture.one_hot(SPACE, SPACE.largest, dtype=torch.float64, device="meta")
    assert {weights.dtype for weights in mixture.values()} == {torch.float64}
    assert {weights.device.type for weights in mixture.values()} == {"meta"}


def test_one_hot_of_an_architecture_of_another_space_is_refused():
    other = SearchSpace((Choice("embed", (2, 8)), Choice(DEPTH, (1, 3)), Choice("ratio", (1,), layers=3)))
    with pytest.raises(ValueError, match=re.escape("choice 'embed' cannot be 8: allowed are [2, 4]")):
        Mixture.one_hot(SPACE, other.largest)


def test_factors_of_a_hard_sample():
    factors = {"embed": torch.tensor(1.0), "ratio": torch.tensor([1.0, 2.0, 3.0])}
    sample = HardSample(SPACE.largest, factors)
    assert sample.factor_at("embed", 2) is factors["embed"]
    ratio = sample.factor_at("ratio", 2)
    assert ratio is not None
    assert ratio.item() == 3
    assert sample.factor_at("depth", 0) is None
    assert HardSample(SPACE.largest).factor_at("embed", 0) is None
