"""Counted FLOPs against those that torch counts on the passes themselves."""

from typing import Any

import pytest
import torch
from accelerate import Accelerator
from knotwork_ops import HardSample, Mixture, Selection
from knotwork_search import RunFolder, Search, costs, evaluate, expected_flops, fixed_batches, planned_steps
from knotwork_search._compute import IN_PLACE, CountedSupernet
from knotwork_search._gradients import frozen
from torch.utils.flop_counter import FlopCounterMode

from .test_loop import data, few_steps
from .toy import PER_LAYER, Toy, numbered, one_batch, random_mixture

CPU = torch.device("cpu")


def counted(toy: Toy, *, mixtures: bool = True) -> Any:
    return CountedSupernet(toy, one_batch(1), mixtures=mixtures)


def seen_by_torch(run: Any) -> float:
    with FlopCounterMode(display=False, custom_mapping=IN_PLACE) as counter:
        run()
    return counter.get_total_flops()


def learnt_mixture() -> Mixture:
    weights = {name: weight.clone().requires_grad_() for name, weight in random_mixture(PER_LAYER, 1).items()}
    return Mixture(PER_LAYER, weights)


@pytest.mark.parametrize(
    "arch", [random_mixture(PER_LAYER, 0), PER_LAYER.largest, HardSample(PER_LAYER.largest)], ids=["mixture", "largest", "hard"]
)
def test_a_weight_pass_counts_what_torch_counts(arch: Selection):
    toy, batch = Toy(), one_batch(7)
    net = counted(toy)
    assert all(parameter.grad is None for parameter in toy.parameters())
    assert net.flops == 0
    wanted = seen_by_torch(lambda: net.loss(batch, arch).backward())
    assert wanted > 0
    assert net.flops == pytest.approx(wanted, rel=1e-9)


def test_an_architecture_pass_costs_less():
    toy, batch = Toy(), one_batch(7)
    net = counted(toy)
    with frozen(toy):
        wanted = seen_by_torch(lambda: net.loss(batch, learnt_mixture()).backward())
    assert net.flops == pytest.approx(wanted, rel=1e-9)
    assert wanted < seen_by_torch(lambda: toy.loss(batch, learnt_mixture()).backward())


def test_an_architecture_pass_of_a_hard_sample():
    toy, batch = Toy(), one_batch(7)
    net = counted(toy, mixtures=False)
    factors = {c.name: torch.ones(c.shape[:-1], requires_grad=True) for c in PER_LAYER}
    with frozen(toy):
        wanted = seen_by_torch(lambda: net.loss(batch, HardSample(PER_LAYER.largest, factors)).backward())
    assert net.flops == pytest.approx(wanted, rel=1e-9)


def test_an_evaluation_is_a_forward_pass(accelerator: Accelerator):
    net = counted(Toy())
    evaluate(net, fixed_batches(numbered(10), 4, 9, CPU), PER_LAYER.largest, accelerator)
    toy = Toy()
    with torch.no_grad():
        assert net.flops == pytest.approx(seen_by_torch(lambda: toy.loss(one_batch(10), PER_LAYER.largest)), rel=1e-9)


def test_smaller_architectures_count_by_their_cost():
    toy = Toy()
    net = counted(toy)
    net.loss(one_batch(1), PER_LAYER.largest)
    largest, net.flops = net.flops, 0.0
    net.loss(one_batch(1), PER_LAYER.smallest)
    share = costs(toy, PER_LAYER.smallest)["flops"] / costs(toy, PER_LAYER.largest)["flops"]
    assert net.flops == pytest.approx(share * largest)


def test_counting_draws_nothing():
    toy = Toy(dropout=0.5)
    before = torch.get_rng_state()
    counted(toy)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("name", "options"), [("drnas", {}), ("darts-2nd", {}), ("sandwich-rs", {"random": 3.0})])
def test_a_search_adds_up_its_steps(accelerator, name, options):
    toy = Toy()
    settings = few_steps(name, max_steps=6, fair_share=0.0, strategy_options=options)
    search = Search(toy, data(), settings, accelerator=accelerator)
    toy.seen = []
    wanted = seen_by_torch(search.train)
    assert len(toy.seen) >= 6
    # Sliced passes are counted by their cost, and torch does not count what a mixture leaves out.
    assert search.flops == pytest.approx(wanted, rel=0.15)
    before = search.flops
    search.choose()
    assert search.flops > before


def test_flops_are_resumed(accelerator, tmp_path):
    settings = few_steps("drnas")
    first = Search(Toy(), data(), settings, accelerator=accelerator, run=RunFolder(tmp_path))
    first.train()
    second = Search(Toy(), data(), settings, accelerator=accelerator, run=RunFolder(tmp_path))
    second.load()
    assert second.flops == first.flops > 0


@pytest.mark.parametrize("name", ["drnas", "darts-2nd", "gdas", "spos-rs", "sandwich-rs"])
def test_steps_are_planned_for_equal_compute(accelerator, name):
    wanted = 1.5e6
    first = Search(Toy(), data(), few_steps(name, max_steps=40, fair_share=0.5), accelerator=accelerator)
    steps = planned_steps(first, wanted)
    settings = few_steps(name, max_steps=steps, fair_share=0.5)
    search = Search(Toy(), data(), settings, accelerator=accelerator)
    assert sum(expected_flops(search)) == pytest.approx(wanted, rel=0.1)
    search.run()
    assert search.flops == pytest.approx(wanted, rel=0.3)


def test_compute_that_does_not_reach_for_the_choice_is_refused(accelerator):
    search = Search(Toy(), data(), few_steps("spos-rs"), accelerator=accelerator)
    with pytest.raises(ValueError, match=r"spos-rs needs \S+ FLOPs to choose among its candidates alone, but may spend 10:"):
        planned_steps(search, 10.0)
