"""What measuring latency needs of a family: its extracted models run on the input, block by block, and the cost joins in."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from knotwork_ops import Mixture
from knotwork_spaces import family, load_space

CASES = {
    "gpt-nano": {"vocab_size": 32, "block_size": 8},
    "llama-nano": {"vocab_size": 32, "block_size": 8},
    "vit-nano": {"image_size": 8, "patch_size": 4, "channels": 1, "num_classes": 3},
}


@pytest.mark.parametrize("name", list(CASES))
@pytest.mark.parametrize("granularity", ["uniform", "per-layer"])
def test_blocks_run_in_order_on_one_item_of_full_size(name: str, granularity: str):
    space: Any = load_space(name).with_granularity(granularity).build(**CASES[name])
    supernet = family(space.family).supernet(space)
    model, inputs, seen = supernet.extract(space.smallest).eval(), supernet.timed_input(), []
    blocks = list(supernet.timed_blocks(model))
    for number, block in enumerate(blocks):
        block.register_forward_pre_hook(lambda *_, number=number: seen.append(number))
    with torch.no_grad():
        model(**inputs)
    assert seen == list(range(space.smallest["depth"]))
    assert [len(value) for value in inputs.values()] == [1]
    assert set(supernet.block_choices) == set(space.per_layer_choices)


@pytest.mark.parametrize("name", list(CASES))
def test_measured_costs_follow_the_exact_ones(name: str):
    space: Any = load_space(name).build(**CASES[name])
    supernet = family(space.family).supernet(space)
    exact = list(supernet.cost(space.smallest))
    supernet.measured_costs["latency_ms"] = lambda arch: torch.tensor(2.0 if isinstance(arch, Mixture) else 1.0)
    cost = supernet.cost(space.smallest)
    assert list(cost) == [*exact, "latency_ms"]
    assert float(cost["latency_ms"]) == 1
    assert float(supernet.cost(Mixture.one_hot(space, space.smallest))["latency_ms"]) == 2
