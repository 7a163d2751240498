"""The mixture as the paper's code computes it: a zero-padded copy of the weight for every option, summed in loops.

TangleNAS (Sukthanker et al., AutoML 2024). What is computed is the supernet's own mixture (knotwork-spaces' README says where
it is stricter than the paper's); how it is computed is the paper's: one linear map with the summed copies, one layer norm for
every width, one attention for every head count, and one run of the deepest net whose hidden states are mixed. Where the
result is the same the cheaper way is taken: embeddings gather their rows before they are padded.

Dropout and stochastic depth are left out: the benchmark compares time and memory, to which they add next to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple

import torch
from knotwork_ops import Mixture, hidden_units
from torch import Tensor, nn
from torch.nn import functional as F

Shares = list[tuple[Tensor, int]]
"""The options of a choice, each with its mixture weight, a 0-dim tensor."""
Sizes = tuple[int | None, ...]
"""How much of each leading dimension an option uses; None for all of it."""


@dataclass(frozen=True, eq=False)
class Layer:
    """What one layer mixes: widths, head counts, and for every pair of width and MLP ratio its share, width and units."""

    embed: Shares
    heads: Shares
    hidden: list[tuple[Tensor, int, int]]


class Block(NamedTuple):
    """The modules of a transformer block, whatever its family calls them."""

    norm1: Any
    qkv: Any
    proj: Any
    norm2: Any
    up: Any
    down: Any


@dataclass(frozen=True)
class Kind:
    """How a family's blocks compute.

    Attributes:
        causal: whether a token sees only itself and what stands before it.
        activation: of the MLP.
        head_dim: units of every head, or None where the heads split the embedding.
    """

    causal: bool
    activation: Callable[[Tensor], Tensor]
    head_dim: int | None = None


def naive_loss(supernet: Any, batch: Mapping[str, Tensor], mixture: Mixture) -> Tensor:
    """``supernet.loss(batch, mixture)`` by padded sums, 0-dim.

    Args:
        supernet: of GPT-2, or of a ViT with a class token and none of the rarer parts.
        batch: as the supernet takes it.
        mixture: the weights of the options.

    Raises:
        ValueError: a ViT with parts that are not written out here.
    """
    if supernet.space.family == "gpt2":
        ids = batch["input_ids"]
        logits = _gpt2_logits(supernet, ids[:, :-1], mixture)
        return F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
    return F.cross_entropy(_vit_logits(supernet, batch["image"], mixture), batch["label"])


def _gpt2_logits(supernet: Any, ids: Tensor, mixture: Mixture) -> Tensor:
    net, embed = supernet.transformer, _shares(mixture, "embed_dim")
    rows = F.embedding(ids, net.wte.weight) + net.wpe.weight[: ids.shape[1]]
    x = superposed(rows, [(share, (None, None, width)) for share, width in embed])
    kind = Kind(causal=True, activation=lambda y: F.gelu(y, approximate="tanh"))
    blocks = [Block(b.ln_1, b.attn.c_attn, b.attn.c_proj, b.ln_2, b.mlp.c_fc, b.mlp.c_proj) for b in net.h]
    x = _norm(_layers(x, blocks, mixture, kind), net.ln_f, embed)
    return F.linear(x, superposed(supernet.lm_head.weight, [(share, (None, width)) for share, width in embed]))


def _vit_logits(net: Any, image: Tensor, mixture: Mixture) -> Tensor:
    _check_plain(net)
    embed, proj = _shares(mixture, "embed_dim"), net.patch_embed.proj
    first = [(share, (width,)) for share, width in embed]
    last = [(share, (None, None, width)) for share, width in embed]
    x = F.conv2d(image, superposed(proj.weight, first), superposed(proj.bias, first), proj.stride).flatten(2).transpose(1, 2)
    x = torch.cat([superposed(net.cls_token, last).expand(len(x), -1, -1), x], 1) + superposed(net.pos_embed, last)
    kind = Kind(causal=False, activation=net.blocks[0].mlp.act, head_dim=net.space.head_dim)
    blocks = [Block(b.norm1, b.attn.qkv, b.attn.proj, b.norm2, b.mlp.fc1, b.mlp.fc2) for b in net.blocks]
    x = _norm(_layers(x, blocks, mixture, kind), net.norm, embed)
    weight = superposed(net.head.weight, [(share, (None, width)) for share, width in embed])
    return F.linear(x[:, 0], weight, net.head.bias)


def _check_plain(net: Any) -> None:
    rare = [net.norm_pre, net.fc_norm, *(scale for block in net.blocks for scale in (block.ls1, block.ls2))]
    plain = all(isinstance(module, nn.Identity) for module in rare) and net.reg_token is None and not net.no_embed_class
    if net.global_pool != "token" or not plain:
        raise ValueError(
            f"the padded sums of timm's {net.space.model} are not written out: only a class token that is pooled, "
            "with a position of its own, and no register tokens, layer scale or norm before the blocks"
        )


def _shares(mixture: Mixture, name: str, layer: int = 0) -> Shares:
    options = [int(option) for option in mixture.space[name].options]
    return list(zip(mixture.at(name, layer), options, strict=True))


def _pairs(mixture: Mixture, embed: Shares, layer: int) -> list[tuple[Tensor, int, int]]:
    ratios = list(zip(mixture.at("mlp_ratio", layer), mixture.space["mlp_ratio"].numbers, strict=True))
    return [(a * b, width, hidden_units(width, ratio)) for a, width in embed for b, ratio in ratios]


def superposed(tensor: Tensor, shares: Iterable[tuple[Tensor, Sizes]]) -> Tensor:
    """``sum_i a_i pad(tensor[:n_i, :m_i, ...])``, one padded copy for every option; shaped like the tensor."""
    return reduce(torch.add, (share * _padded(tensor, sizes) for share, sizes in shares))


def _padded(tensor: Tensor, sizes: Sizes) -> Tensor:
    part = tensor[tuple(slice(size) for size in sizes)]
    missing = [whole - used for whole, used in zip(tensor.shape, part.shape, strict=True)]
    return F.pad(part, [amount for after in reversed(missing) for amount in (0, after)])


def _linear(x: Tensor, module: Any, weights: Iterable[tuple[Tensor, Sizes]], biases: Iterable[tuple[Tensor, Sizes]]) -> Tensor:
    """One map with the summed copies. The sizes of a weight are (outputs, inputs); no biases leave the bias whole."""
    stored_inputs_first = not isinstance(module, nn.Linear)  # Hugging Face's Conv1D
    sizes = [(share, size[::-1] if stored_inputs_first else size) for share, size in weights]
    weight, biases = superposed(module.weight, sizes), list(biases)
    bias = superposed(module.bias, biases) if biases else module.bias
    return F.linear(x, weight.t() if stored_inputs_first else weight, bias)


def _norm(x: Tensor, norm: Any, embed: Shares) -> Tensor:
    """Every width's own layer norm, with the statistics of its prefix, padded."""

    def prefix_norm(width: int) -> Tensor:
        y = F.layer_norm(x[..., :width], (width,), norm.weight[:width], norm.bias[:width], norm.eps)
        return F.pad(y, (0, x.shape[-1] - width))

    return reduce(torch.add, (share * prefix_norm(width) for share, width in embed))


def _layers(x: Tensor, blocks: Sequence[Block], mixture: Mixture, kind: Kind) -> Tensor:
    """The deepest net runs once; the hidden states after every depth option are mixed."""
    embed, mixed = _shares(mixture, "embed_dim"), None
    depths = {count: share for share, count in _shares(mixture, "depth")}
    for number, block in enumerate(blocks):
        layer = Layer(embed, _shares(mixture, "num_heads", number), _pairs(mixture, embed, number))
        x = x + _attention(_norm(x, block.norm1, embed), block, layer, kind)
        x = x + _mlp(_norm(x, block.norm2, embed), block, layer, kind)
        if number + 1 in depths:
            state = depths[number + 1] * x
            mixed = state if mixed is None else mixed + state
    assert mixed is not None
    return mixed


def _attention(x: Tensor, block: Block, layer: Layer, kind: Kind) -> Tensor:
    # The joint projection has all its outputs whatever the architecture, so its bias follows no choice.
    joint = _linear(x, block.qkv, [(share, (None, width)) for share, width in layer.embed], ())
    q, k, v = joint.chunk(3, -1)
    if kind.head_dim is None:
        outputs = (share * _shared_heads(q, k, v, layer.embed, count, kind.causal) for share, count in layer.heads)
    else:
        outputs = (share * _fixed_heads(q, k, v, count, kind.head_dim, kind.causal) for share, count in layer.heads)
    rows = [(share, (width, None)) for share, width in layer.embed]
    return _linear(reduce(torch.add, outputs), block.proj, rows, [(share, (width,)) for share, width in layer.embed])


def _shared_heads(q: Tensor, k: Tensor, v: Tensor, embed: Shares, count: int, causal: bool) -> Tensor:
    """One attention of ``count`` heads: each width uses its share of every head, padded and mixed, with its own scale."""

    def mixed(x: Tensor, *, scaled: bool) -> Tensor:
        heads = x.unflatten(-1, (count, -1)).transpose(1, 2)
        parts = ((share * (width / count) ** -0.5 if scaled else share, width // count) for share, width in embed)
        return superposed(heads, ((share, (None, None, None, width)) for share, width in parts))

    y = F.scaled_dot_product_attention(
        mixed(q, scaled=True), mixed(k, scaled=False), mixed(v, scaled=False), is_causal=causal, scale=1.0
    )
    return y.transpose(1, 2).flatten(2)


def _fixed_heads(q: Tensor, k: Tensor, v: Tensor, count: int, head_dim: int, causal: bool) -> Tensor:
    """One attention of the first ``count`` heads, padded to all of them."""
    q_h, k_h, v_h = (x[..., : count * head_dim].unflatten(-1, (count, -1)).transpose(1, 2) for x in (q, k, v))
    y = F.scaled_dot_product_attention(q_h, k_h, v_h, is_causal=causal).transpose(1, 2).flatten(2)
    return F.pad(y, (0, q.shape[-1] - y.shape[-1]))


def _mlp(x: Tensor, block: Block, layer: Layer, kind: Kind) -> Tensor:
    up = [(ab, (units, width)) for ab, width, units in layer.hidden]
    y = kind.activation(_linear(x, block.up, up, [(ab, (units,)) for ab, _, units in layer.hidden]))
    down = [(ab, (width, units)) for ab, width, units in layer.hidden]
    return _linear(y, block.down, down, [(share, (width,)) for share, width in layer.embed])
