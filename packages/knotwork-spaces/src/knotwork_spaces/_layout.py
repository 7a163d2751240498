"""How one call of a transformer supernet uses its dimensions: all options superposed, or one architecture sliced."""

from __future__ import annotations

from dataclasses import dataclass

from knotwork_ops import (
    Architecture,
    Depth,
    HardSample,
    Heads,
    MixedHeads,
    Mixture,
    Selection,
    SlicedHeads,
    SlicedWidth,
    Width,
    mlp_width,
    prefix_width,
)

from knotwork_spaces._transformer_space import TransformerSpace


@dataclass(frozen=True, eq=False)
class Layout:
    """The embedding and the depth; by layer, in the order that they run in, its number, heads and hidden units of the MLP."""

    embed: Width
    depth: Depth
    layers: list[int]
    heads: list[Heads]
    hidden: list[Width]


def transformer_layout(space: TransformerSpace, arch: Selection) -> Layout:
    """The layout of a mixture, a hard sample or an architecture. Raises ValueError for an architecture of another space."""
    if isinstance(arch, Mixture):
        return _mixed(space, arch)
    return _sliced(space, HardSample(arch) if isinstance(arch, Architecture) else arch)


def _mixed(space: TransformerSpace, mixture: Mixture) -> Layout:
    embed = prefix_width("embed_dim", mixture["embed_dim"], [int(o) for o in space["embed_dim"].options])
    counts = tuple(int(o) for o in space["num_heads"].options)
    ratios = space["mlp_ratio"].numbers
    ranks = space.ranks(int(space["depth"].options[-1]))
    heads: list[Heads] = [MixedHeads(mixture.at("num_heads", rank), counts) for rank in ranks]
    hidden = [mlp_width(embed, ratios, mixture.at("mlp_ratio", rank)) for rank in ranks]
    return Layout(embed, space.mixed_depth(mixture["depth"], ranks), [space.layer(rank) for rank in ranks], heads, hidden)


def _sliced(space: TransformerSpace, sample: HardSample) -> Layout:
    arch = sample.architecture
    space.validate(arch)
    embed = SlicedWidth("embed_dim", arch["embed_dim"], sample.factors.get("embed_dim"))
    ranks = space.ranks(arch["depth"])
    heads: list[Heads] = [SlicedHeads(int(arch.at("num_heads", rank)), sample.factor_at("num_heads", rank)) for rank in ranks]
    hidden = [mlp_width(embed, (), arch.at("mlp_ratio", rank), sample.factor_at("mlp_ratio", rank)) for rank in ranks]
    depth = space.sliced_depth(sample.factors.get("depth"), ranks)
    return Layout(embed, depth, [space.layer(rank) for rank in ranks], heads, hidden)
