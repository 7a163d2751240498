"""The table's arithmetic: expectations, exactness, monotonicity, interpolation."""

from __future__ import annotations

import math

import pytest
import torch
from knotwork_ops import DEPTH, Choice, Mixture, SearchSpace
from knotwork_search import LatencyTable, likeliest, uniform_mixture
from knotwork_search._budget import Budget
from knotwork_search.latency import measured_table
from knotwork_search.latency._build import MOST_NETS, covering_architectures
from knotwork_search.latency._table import monotone
from knotwork_search.latency._timing import _fastest

from .timed_toy import FakeClock, TimedToy
from .toy import PER_LAYER, every_architecture, random_mixture

CPU = torch.device("cpu")
UNIFORM_DEPTH = SearchSpace((Choice("width", (2, 4)), Choice(DEPTH, (1, 3)), Choice("ratio", (1, 2, 3))))


def random_table(space: SearchSpace) -> LatencyTable:
    generator = torch.Generator().manual_seed(0)
    widths, ratios = (len(space[name].options) for name in ("width", "ratio"))
    outside, blocks = (
        torch.rand(*shape, generator=generator, dtype=torch.float64) + 0.1 for shape in ((widths,), (widths, ratios))
    )
    return LatencyTable(space, ("width",), ("ratio",), monotone(outside), monotone(blocks))


def by_hand(table: LatencyTable, architecture) -> float:
    width = table.space["width"].index(architecture["width"])
    ratios = [table.space["ratio"].index(architecture.at("ratio", layer)) for layer in range(architecture[DEPTH])]
    return float(table.outside[width] + sum(table.blocks[width, ratio] for ratio in ratios))


def probability(mixture: Mixture, architecture) -> float:
    space, chance = mixture.space, 1.0
    for choice in space:
        value = architecture[choice.name]
        rows = enumerate(value) if isinstance(value, tuple) else [(0, value)]
        for layer, option in rows:
            chance *= float(mixture.at(choice.name, layer)[choice.index(option)])
    return chance


@pytest.mark.parametrize("space", [PER_LAYER, UNIFORM_DEPTH], ids=["per layer", "uniform"])
def test_expectation_is_the_sum_over_all_architectures(space):
    table = random_table(space)
    mixture = Mixture(
        space, {name: (w := weights.double()) / w.sum(-1, keepdim=True) for name, weights in random_mixture(space, 1).items()}
    )
    architectures = every_architecture(space)
    assert sum(probability(mixture, a) for a in architectures) == pytest.approx(1, abs=1e-12)
    expected = sum(probability(mixture, a) * by_hand(table, a) for a in architectures)
    assert float(table(mixture)) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("space", [PER_LAYER, UNIFORM_DEPTH], ids=["per layer", "uniform"])
def test_one_hot_is_the_tables_own_value(space):
    table = random_table(space)
    for architecture in every_architecture(space):
        one_hot = Mixture.one_hot(space, architecture)
        assert float(table(architecture)) == float(table(one_hot)) == pytest.approx(by_hand(table, architecture), rel=1e-14)


def test_gradients():
    table = random_table(PER_LAYER)
    names = [choice.name for choice in PER_LAYER]
    weights = [random_mixture(PER_LAYER, 2)[name].double().requires_grad_() for name in names]
    assert torch.autograd.gradcheck(lambda *given: table(Mixture(PER_LAYER, dict(zip(names, given, strict=True)))), weights)


def test_monotone_moves_both_values_and_leaves_the_rest():
    assert monotone(torch.tensor([1.0, 3.0, 2.0, 4.0])).tolist() == [1, 2.5, 2.5, 4]
    noisy = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    smooth = monotone(noisy)
    assert all(bool((smooth.diff(dim=axis) >= 0).all()) for axis in range(3))
    assert torch.equal(monotone(smooth), smooth)


def test_a_measured_table_tells_what_the_models_take():
    clock = FakeClock()
    toy = TimedToy(clock)
    table = measured_table(toy, CPU, clock=clock)
    assert (table.shared, table.inside) == (("width",), ("ratio",))
    assert table.outside.tolist() == pytest.approx([3, 5, 7])
    assert table.blocks.flatten().tolist() == pytest.approx([2, 4, 6, 4, 8, 12, 6, 12, 18])
    assert table.median_error == pytest.approx(0, abs=1e-9)
    covering = covering_architectures(toy)
    assert len(covering) == 9
    assert len(set(toy.extracted) - set(covering)) == 20


def test_the_error_is_that_of_held_out_architectures():
    # Blocks of unlike ratios hinder each other, which no table of single blocks can know.
    clock = FakeClock()
    toy = TimedToy(clock)
    plain = toy.block_ms
    toy.block_ms = lambda width, ratio: plain(width, ratio) * (1 if toy.extracted[-1].uniform else 1.25)
    error = measured_table(toy, CPU, clock=clock).median_error
    assert error is not None
    assert 0.1 < error < 0.25


def test_passes_that_were_slowed_down_do_not_count():
    usual, slowed = [1.0, 2.0, 4.0, 1.0], [1.0, 9.0, 4.0, 1.0]
    timing = _fastest([slowed, usual, slowed, slowed, slowed, usual, slowed, slowed])
    assert (timing.outside, timing.blocks, timing.total) == (2.0, (2.0, 4.0), 8.0)


def test_many_options_are_interpolated_between_timed_ones():
    widths, ratios = tuple(range(2, 34, 2)), tuple(range(1, 17))
    space = SearchSpace((Choice("width", widths), Choice(DEPTH, (1, 2)), Choice("ratio", ratios)))
    clock = FakeClock()
    toy = TimedToy(clock, space, lambda width, ratio: 3.0 + width + 2 * ratio)
    table = measured_table(toy, CPU, clock=clock)
    assert len(covering_architectures(toy)) <= MOST_NETS
    assert table.blocks.shape == (16, 16)
    assert table.blocks[5].tolist() == pytest.approx([3.0 + widths[5] + 2 * ratio for ratio in ratios])
    assert table.outside.tolist() == pytest.approx([1.0 + width for width in widths])


def test_a_latency_budget_joins_the_others_in_the_enumeration():
    clock = FakeClock()
    toy = TimedToy(clock)
    toy.measured_costs["latency_ms"] = measured_table(toy, CPU, clock=clock)
    budget = Budget({"latency_ms": 20.0, "params": 60.0})
    found = {candidate.architecture for candidate in likeliest(toy, uniform_mixture(PER_LAYER), budget)}
    within = {a for a in every_architecture(PER_LAYER) if budget.met_by({k: float(v) for k, v in toy.cost(a).items()})}
    assert found == within
    assert 0 < len(found) < len(every_architecture(PER_LAYER))
    with pytest.raises(ValueError, match=r"the budget of 4\.5 latency_ms is below the smallest architecture, which has 5"):
        Budget({"latency_ms": 4.5}).check_possible(toy)
    assert math.isfinite(
        float(Budget({"latency_ms": 4.5}, multipliers={"latency_ms": 1.0}).penalty(toy.cost(PER_LAYER.largest)))
    )
