"""Cost is exact: the plain network's own parameters and counted FLOPs, the published counts, a true expectation."""

from __future__ import annotations

import itertools

import pytest
import torch
from knotwork_ops import Architecture, Mixture
from knotwork_spaces.cells import OPERATIONS, ToyCellSpace, ToyCellSupernet, cell_cost
from torch.utils.flop_counter import FlopCounterMode

from .cells_cases import cells_supernet, images, tiny_cells
from .comparison import gradients, one_hot, random_alphas, some_architectures

CODES = {"d3": "dil_conv_3x3", "d5": "dil_conv_5x5", "s3": "sep_conv_3x3", "s5": "sep_conv_5x5"}
PUBLISHED = {
    "s3 s3 s3 s3 s3 s3": 198_826,
    "s5 s5 s5 s5 s5 s5": 211_114,
    "d3 d3 d3 d3 d3 d3": 176_938,
    "d5 d5 d5 d5 d5 d5": 183_082,
    "s5 s3 s5 s3 d5 s3": 204_170,
    "s3 d3 s3 s3 s5 s3": 193_866,
    "d3 s3 s3 d3 d3 s5": 191_242,
    "s3 d5 d5 s3 s5 s5": 191_978,
    "d5 d5 d5 s5 d3 d3": 183_882,
    "d5 d3 s5 d3 s3 d3": 188_842,
    "d5 d5 s3 s5 d5 s3": 190_154,
    "d5 s3 s3 d3 s5 s5": 195_114,
    "s5 d3 d3 d5 s5 d5": 189_354,
    "s3 d5 s3 s3 s3 s3": 194_378,
    "d5 d5 d3 s5 d5 s3": 184_170,
    "s3 s3 d5 d3 d3 s3": 191_754,
    "d5 s3 s5 d5 d3 s5": 196_362,
    "d5 s5 d5 s5 d3 s5": 193_738,
    "s3 s3 s3 s5 s3 s5": 200_874,
    "d5 d3 s5 s3 s3 s3": 191_466,
    "d3 s3 d3 s3 s5 s5": 188_906,
    "s5 d5 s5 s5 s3 d3": 200_234,
    "s3 d5 s5 s3 s5 s5": 199_498,
    "d3 d3 s3 d3 d3 s3": 184_234,
    "s3 s3 d5 d5 d3 d3": 190_954,
    "s3 s3 d3 d5 s5 d3": 191_754,
    "s3 s3 d5 s5 s3 s3": 195_402,
    "s3 s3 s5 s3 d3 d5": 199_786,
    "d5 s3 s3 d5 s3 d3": 192_266,
    "s5 d3 d5 d3 d5 d3": 188_042,
    "d5 s5 d3 s3 s3 s5": 192_490,
    "s3 s3 d5 d3 d5 s5": 193_290,
    "s5 d5 s3 s5 d3 s3": 197_162,
    "d5 d3 s3 s3 s3 d5": 187_594,
    "d5 d5 d5 s5 d5 s5": 186_730,
    "s5 d5 s5 d5 s5 s5": 201_770,
}
"""Rows of the paper's benchmark: operations of normal_0_1 ... reduce_1_2, and the column of parameters.

Its authors counted with normal and reduction cells exchanged: a different operation of one reduction edge changes the count by
what one 32-channel edge has, though there are two such edges, of 32 and 64 channels.
"""


def architecture(space: ToyCellSpace, codes: str) -> Architecture:
    return space.architecture({name: CODES[code] for name, code in zip(space.choice_names, codes.split(), strict=True)})


def test_parameters_are_the_published_ones():
    space = ToyCellSpace.build()
    for codes, published in PUBLISHED.items():
        normal, reduction = codes[:8], codes[9:]
        assert cell_cost(space, architecture(space, f"{reduction} {normal}"))["params"].item() == published, codes


def assert_exact(supernet: ToyCellSupernet, arch: Architecture) -> None:
    space = supernet.space
    model, cost = supernet.extract(arch).eval(), supernet.cost(arch)
    assert cost["params"].item() == sum(parameter.numel() for parameter in model.parameters()), str(arch)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(images(space, next(model.parameters()).dtype, batch=1))
    assert cost["flops"].item() == counter.get_total_flops(), str(arch)
    assert cost["macs"].item() * 2 == cost["flops"].item()
    # A one-hot mixture of lower precision costs the same: counts are kept in float64.
    for name, expected in supernet.cost(one_hot(space, arch, torch.float32)).items():
        assert expected.dtype == torch.float64
        assert expected == cost[name]


@pytest.mark.parametrize(
    "sizes",
    [{}, {"image_size": 5}, {"image_size": 9, "channels": 3, "num_classes": 7, "width": 11}, {"image_size": 12}],
    ids=str,
)
def test_cost_is_what_the_plain_network_has(sizes: dict[str, int]):
    space = tiny_cells(**sizes)
    supernet = cells_supernet(space)
    for arch in some_architectures(space, 2):
        assert_exact(supernet, arch)


def test_cost_of_the_benchmarks_own_net():
    space = ToyCellSpace.build()
    supernet = ToyCellSupernet(space)
    for codes in ("s5 s3 d5 d3 s3 d5", "d3 s5 d5 s5 d3 s3"):
        assert_exact(supernet, architecture(space, codes))


def test_expected_cost_is_the_expectation_over_all_architectures():
    names = ["dil_conv_5x5", "sep_conv_3x3"]
    space = tiny_cells(**dict.fromkeys(ToyCellSpace.choice_names, names))
    mixture = Mixture(space, {name: alpha.detach().softmax(-1) for name, alpha in random_alphas(space, seed=3).items()})
    expected: dict[str, float] = dict.fromkeys(("params", "flops", "macs"), 0.0)
    for picked in itertools.product(range(2), repeat=6):
        chance = torch.stack([mixture[name][at] for name, at in zip(space.choice_names, picked, strict=True)]).prod().item()
        arch = space.architecture({name: names[at] for name, at in zip(space.choice_names, picked, strict=True)})
        for name, cost in cell_cost(space, arch).items():
            expected[name] += chance * cost.item()
    for name, cost in cell_cost(space, mixture).items():
        assert cost.item() == pytest.approx(expected[name], rel=1e-12)


@pytest.mark.parametrize("width", [8, 32])
def test_cost_never_falls_when_an_option_grows(width: int):
    space = tiny_cells(width=width)
    for name, quantity in itertools.product(space.choice_names, ("params", "flops")):
        values = {**space.smallest.as_dict()}
        costs = [cell_cost(space, space.architecture({**values, name: option}))[quantity].item() for option in OPERATIONS]
        assert costs == sorted(set(costs)), (name, quantity)


def test_cost_gives_gradients_to_the_mixture_weights():
    space = tiny_cells()
    weights = {name: alpha.detach().softmax(-1).requires_grad_() for name, alpha in random_alphas(space).items()}
    found = gradients(cell_cost(space, Mixture(space, weights))["flops"], weights, torch.ones(()))
    assert all(bool((gradient.diff() > 0).all()) for gradient in found.values())
