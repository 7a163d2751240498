"""How one call of a Llama supernet uses its dimensions: all options superposed, or one architecture sliced."""

from __future__ import annotations

import math
from dataclasses import dataclass

from knotwork_ops import (
    Architecture,
    Depth,
    HardSample,
    MixedWidth,
    Mixture,
    Selection,
    SlicedWidth,
    Width,
    prefix_width,
)
from torch import Tensor

from knotwork_spaces.llama._heads import Groups, GroupUnits, MixedGroups, SlicedGroups
from knotwork_spaces.llama._space import LlamaSpace

HEADS = ("num_kv_heads", "heads_per_group", "head_dim")


@dataclass(frozen=True, eq=False)
class LlamaLayout:
    """The embedding, the depth and the head widths; by layer, as they run, its number, heads and units of the MLP."""

    embed: Width
    depth: Depth
    head_dims: tuple[int, ...]
    layers: list[int]
    heads: list[Groups]
    hidden: list[Width]


def llama_layout(space: LlamaSpace, arch: Selection) -> LlamaLayout:
    """The layout of a mixture, a hard sample or an architecture. Raises ValueError for an architecture of another space."""
    if isinstance(arch, Mixture):
        return _mixed(space, arch)
    return _sliced(space, HardSample(arch) if isinstance(arch, Architecture) else arch)


def group_units(space: LlamaSpace, arch: Architecture, rank: int) -> GroupUnits:
    """The units that the layer of a rank uses, in an architecture, of the supernet's projections."""
    groups, members, width = (int(space[name].options[-1]) for name in HEADS)
    used = tuple(int(arch.at(name, rank)) for name in HEADS)
    return GroupUnits((groups, members, width), (used[0], used[1], used[2]))


def _mixed(space: LlamaSpace, mixture: Mixture) -> LlamaLayout:
    def width(name: str, layer: int = 0) -> MixedWidth:
        return prefix_width(name, mixture.at(name, layer), [int(option) for option in space[name].options])

    ranks = space.ranks(int(space["depth"].options[-1]))
    heads: list[Groups] = [MixedGroups(*(width(name, rank) for name in HEADS)) for rank in ranks]
    hidden: list[Width] = [width("intermediate_size", rank) for rank in ranks]
    head_dims = tuple(int(option) for option in space["head_dim"].options)
    layers = [space.layer(rank) for rank in ranks]
    return LlamaLayout(width("embed_dim"), space.mixed_depth(mixture["depth"], ranks), head_dims, layers, heads, hidden)


def _sliced(space: LlamaSpace, sample: HardSample) -> LlamaLayout:
    arch = sample.architecture
    space.validate(arch)

    def width(name: str, layer: int = 0) -> SlicedWidth:
        return SlicedWidth(name, int(arch.at(name, layer)), sample.factor_at(name, layer))

    ranks = space.ranks(arch["depth"])
    heads: list[Groups] = [SlicedGroups(group_units(space, arch, rank), _factor(sample, rank)) for rank in ranks]
    hidden: list[Width] = [width("intermediate_size", rank) for rank in ranks]
    depth, layers = space.sliced_depth(sample.factors.get("depth"), ranks), [space.layer(rank) for rank in ranks]
    return LlamaLayout(width("embed_dim"), depth, (arch["head_dim"],), layers, heads, hidden)


def _factor(sample: HardSample, layer: int) -> Tensor | None:
    """The product of the factors of the choices that say which heads there are."""
    factors = [factor for name in HEADS if (factor := sample.factor_at(name, layer)) is not None]
    return math.prod(factors[1:], start=factors[0]) if factors else None
