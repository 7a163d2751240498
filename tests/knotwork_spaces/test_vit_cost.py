"""Cost is exact: the plain model's own parameters and counted FLOPs, and a true expectation under a mixture."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from knotwork_ops import Architecture, Mixture
from knotwork_spaces.vit import ViTSpace, plain_model, vit_cost
from torch.utils.flop_counter import FlopCounterMode

from .comparison import GRANULARITIES, every_architecture, few, gradients, one_hot, random_alphas, some_architectures
from .vit_cases import KINDS, images, timm_model, tiny_vit, vit_spaces, vit_supernet

kinds = pytest.mark.parametrize("kind", KINDS)
granularities = pytest.mark.parametrize("granularity", GRANULARITIES)
QUANTITIES = ["params", "flops", "macs"]


def largest_model(space: ViTSpace) -> Any:
    """Cost needs to know what parts there are, not their values."""
    with torch.device("meta"):
        return plain_model(space, space.largest)


def counted_flops(model: Any, space: ViTSpace) -> int:
    for block in model.blocks:
        block.attn.fused_attn = False
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(images(space, torch.float32, batch=1))
    return counter.get_total_flops()


def assert_exact(space: ViTSpace) -> None:
    supernet = vit_supernet(space)
    for arch in some_architectures(space, 2):
        model, cost = timm_model(space, arch), supernet.cost(arch)
        assert cost["params"].item() == sum(parameter.numel() for parameter in model.parameters()), str(arch)
        assert cost["flops"].item() == counted_flops(model, space), str(arch)
        assert cost["macs"].item() * 2 == cost["flops"].item(), str(arch)
        # A one-hot mixture of lower precision costs the same: counts are kept in float64.
        for name, expected in supernet.cost(one_hot(space, arch, torch.float32)).items():
            assert expected.dtype == torch.float64
            assert expected == cost[name]
        # So does timm's model of the largest architecture instead of the supernet.
        for name, expected in vit_cost(space, largest_model(space), arch).items():
            assert expected == cost[name]


@granularities
@kinds
def test_cost_is_what_the_plain_model_has(kind: str, granularity: str):
    assert_exact(tiny_vit(GRANULARITIES[granularity], **KINDS[kind]))


@few
@given(space=vit_spaces())
def test_cost_is_what_the_plain_model_has_in_any_space(space: ViTSpace):
    assert_exact(space)


@pytest.mark.parametrize(
    ("model", "changes", "params"),
    [
        # timm's published table: vit_tiny 5.72 M, vit_base 86.57 M parameters, to the last one.
        ("vit_tiny_patch16_224", {"embed_dim": [192], "num_heads": [3]}, 5_717_416),
        ("vit_base_patch16_224", {"embed_dim": [768], "num_heads": [12]}, 86_567_656),
    ],
)
def test_known_vits_have_their_published_size(model: str, changes: dict, params: int):
    space = ViTSpace.build(depth=[12], mlp_ratio=[4], model=model, **changes)
    with torch.device("meta"):
        stock = timm.create_model(model)
    assert vit_cost(space, stock, space.largest)["params"].item() == params


def autoformer(size: str) -> tuple[ViTSpace, Architecture]:
    """The largest nets of AutoFormer's table 5, with 64 units a head and MLP ratio 4."""
    embed, depth, heads = {"tiny": (240, 14, 4), "small": (448, 14, 7), "base": (624, 16, 10)}[size]
    space = ViTSpace.build(embed_dim=[embed], depth=[depth], num_heads=[heads], mlp_ratio=[4], head_dim=64)
    return space, space.largest


@pytest.mark.parametrize("size", ["tiny", "small", "base"])
def test_heads_of_a_fixed_width_cost_as_counted_by_hand(size: str):
    space, arch = autoformer(size)
    embed, depth, units = arch["embed_dim"], arch["depth"], arch["num_heads"] * 64
    tokens = 14 * 14 + 1
    layer = 3 * units * (embed + 1) + embed * (units + 1) + 4 * embed * (embed + 1) + embed * (4 * embed + 1) + 4 * embed
    outside = embed * (3 * 16 * 16 + 1) + embed * (tokens + 1) + 2 * embed + 1000 * (embed + 1)
    macs = depth * (tokens * (4 * units * embed + 8 * embed * embed) + 2 * tokens * tokens * units)
    macs += 196 * 3 * 16 * 16 * embed + 1000 * embed
    cost = vit_cost(space, largest_model(space), arch)
    assert (cost["params"].item(), cost["macs"].item()) == (depth * layer + outside, macs)


@pytest.mark.parametrize("per_layer", [(), ("mlp_ratio",), ("num_heads",), ("num_heads", "mlp_ratio")], ids=str)
@pytest.mark.parametrize("kind", ["plain", "fixed heads", "registers and class"])
def test_expected_cost_is_the_expectation_over_all_architectures(kind: str, per_layer: tuple[str, ...]):
    fewer = {"embed_dim": [8, 16], "depth": [1, 3], "num_heads": [1, 2], "mlp_ratio": [0.5, 3]}
    space = tiny_vit(per_layer, **{**KINDS[kind], **fewer})
    model = largest_model(space)
    mixture = Mixture(space, {n: alpha.detach().softmax(-1) for n, alpha in random_alphas(space, seed=3).items()})
    expected, total = dict.fromkeys(QUANTITIES, 0.0), 0.0
    for arch, chance in every_architecture(space, mixture):
        total += chance
        for name, cost in vit_cost(space, model, arch).items():
            expected[name] += chance * cost.item()
    assert total == pytest.approx(1, rel=1e-12)
    for name, cost in vit_cost(space, model, mixture).items():
        assert cost.item() == pytest.approx(expected[name], rel=1e-9), name


@few
@given(space=vit_spaces(), seed=st.integers(0, 2**31 - 1))
def test_cost_lies_between_the_smallest_and_the_largest(space: ViTSpace, seed: int):
    alphas, model = random_alphas(space, torch.float32, seed), largest_model(space)
    mixed = vit_cost(space, model, Mixture(space, {name: alpha.softmax(-1) for name, alpha in alphas.items()}))
    least, most = vit_cost(space, model, space.smallest), vit_cost(space, model, space.largest)
    for name, cost in mixed.items():
        assert least[name].item() * (1 - 1e-6) <= cost.item() <= most[name].item() * (1 + 1e-6)


@kinds
def test_a_larger_option_costs_more(kind: str):
    """Except that the number of heads which share a width changes neither parameters nor products."""
    space = tiny_vit(**KINDS[kind])
    model = largest_model(space)
    for name in ("embed_dim", "depth", "num_heads", "mlp_ratio"):
        for quantity in QUANTITIES:
            costs = []
            for option in space[name].options:
                arch = space.architecture({**space.smallest.as_dict(), name: option})
                costs.append(vit_cost(space, model, arch)[quantity].item())
            if name == "num_heads" and space.head_dim is None:
                assert len(set(costs)) == 1
            else:
                assert costs == sorted(set(costs)), (name, quantity)


@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize("kind", ["plain", "fixed heads"])
@granularities
def test_cost_gives_gradients_to_the_mixture_weights(granularity: str, kind: str, quantity: str):
    space = tiny_vit(GRANULARITIES[granularity], **KINDS[kind])
    weights = {n: a.detach().softmax(-1).requires_grad_() for n, a in random_alphas(space, torch.float32).items()}
    cost = vit_cost(space, largest_model(space), Mixture(space, weights))
    found = gradients(cost[quantity], weights, torch.ones(()))
    for name in ("embed_dim", "depth", "mlp_ratio", *(["num_heads"] if space.head_dim else [])):
        assert bool((found[name].diff(dim=-1) > 0).all()), name
    if space.head_dim is None:
        assert not found["num_heads"].any()
