"""How one call of a transformer supernet uses its dimensions: all options superposed, or one architecture sliced."""

from __future__ import annotations

from dataclasses import dataclass

from knotwork_ops import (
    Architecture,
    Depth,
    HardSample,
    Heads,
    MixedDepth,
    MixedHeads,
    Mixture,
    Selection,
    SlicedDepth,
    SlicedHeads,
    SlicedWidth,
    Width,
    mlp_width,
    prefix_width,
)

from knotwork_spaces._transformer_space import TransformerSpace


@dataclass(frozen=True, eq=False)
class Layout:
    """The embedding and the depth, and by layer the heads and the hidden units of the MLP."""

    embed: Width
    depth: Depth
    heads: list[Heads]
    hidden: list[Width]


def transformer_layout(space: TransformerSpace, arch: Selection) -> Layout:
    """The layout of a mixture, a hard sample or an architecture. Raises ValueError for an architecture of another space."""
    if isinstance(arch, Mixture):
        return _mixed(space, arch)
    return _sliced(space, HardSample(arch) if isinstance(arch, Architecture) else arch)


def _mixed(space: TransformerSpace, mixture: Mixture) -> Layout:
    embed = prefix_width("embed_dim", mixture["embed_dim"], [int(o) for o in space["embed_dim"].options])
    depths = tuple(int(o) for o in space["depth"].options)
    counts = tuple(int(o) for o in space["num_heads"].options)
    ratios = space["mlp_ratio"].numbers
    layers = range(depths[-1])
    heads: list[Heads] = [MixedHeads(mixture.at("num_heads", layer), counts) for layer in layers]
    hidden = [mlp_width(embed, ratios, mixture.at("mlp_ratio", layer)) for layer in layers]
    return Layout(embed, MixedDepth(mixture["depth"], depths), heads, hidden)


def _sliced(space: TransformerSpace, sample: HardSample) -> Layout:
    arch = sample.architecture
    space.validate(arch)
    embed = SlicedWidth("embed_dim", arch["embed_dim"], sample.factors.get("embed_dim"))
    layers = range(arch["depth"])
    heads: list[Heads] = [
        SlicedHeads(int(arch.at("num_heads", layer)), sample.factor_at("num_heads", layer)) for layer in layers
    ]
    hidden = [mlp_width(embed, (), arch.at("mlp_ratio", layer), sample.factor_at("mlp_ratio", layer)) for layer in layers]
    return Layout(embed, SlicedDepth(arch["depth"], sample.factors.get("depth")), heads, hidden)
