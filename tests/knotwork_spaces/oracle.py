"""GPT-2 under a mixture, written out naively from a state dict: every option's sub-block is padded with zeros and summed.

Nothing here knows how knotwork_ops or knotwork_spaces compute; only torch's basic operations and loops over options, so that
each line can be read against the table of design.md, section 3. GPT-2's ``Conv1D`` stores its weights ``(in, out)``: the
table's rows are the second dimension here, its columns the first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

EPS = 1e-5


@dataclass(frozen=True, eq=False)
class Shares:
    """Options with their mixture weights, as one layer sees them."""

    weights: Tensor
    options: Sequence[Any]

    def __iter__(self) -> Iterator[tuple[Tensor, Any]]:
        return zip(self.weights, self.options, strict=True)


def at_layer(weights: Mapping[str, Tensor], options: Mapping[str, Sequence[float]], name: str, layer: int) -> Shares:
    weight = weights[name]
    return Shares(weight[layer] if weight.dim() == 2 else weight, options[name])


def padded(weight: Tensor, first: int | None, second: int | None) -> Tensor:
    """``weight[:first, :second]`` in a matrix of the full shape that is zero elsewhere; None keeps a whole dimension."""
    part = weight[:first, :second]
    return F.pad(part, (0, weight.shape[1] - part.shape[1], 0, weight.shape[0] - part.shape[0]))


def padded_prefix(x: Tensor, width: int) -> Tensor:
    return F.pad(x[..., :width], (0, x.shape[-1] - width))


def prefix_norms(x: Tensor, weight: Tensor, bias: Tensor, embed: Shares, eps: float = EPS) -> Tensor:
    """The mixture of the layer norms of every prefix, each with the statistics of its own prefix."""
    y = torch.zeros_like(x)
    for share, width in embed:
        part = x[..., :width]
        mean = part.sum(-1, keepdim=True) / width
        variance = ((part - mean) ** 2).sum(-1, keepdim=True) / width
        normed = (part - mean) / (variance + eps).sqrt() * weight[:width] + bias[:width]
        y = y + share * F.pad(normed, (0, x.shape[-1] - width))
    return y


def head_prefixes(x: Tensor, heads: int, embed: int) -> Tensor:
    """The first embed / heads dims of each of ``heads`` super-heads of ``x``, zero elsewhere."""
    size = x.shape[-1]
    y = torch.zeros_like(x)
    for head in range(heads):
        start = head * (size // heads)
        part = x[..., start : start + embed // heads]
        y = y + F.pad(part, (start, size - start - part.shape[-1]))
    return y


def causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """One head, without a scale."""
    tokens = q.shape[-2]
    later = torch.tensor([[column > row for column in range(tokens)] for row in range(tokens)])
    exponents = (q @ k.transpose(-1, -2)).masked_fill(later, -torch.inf).exp()
    return exponents / exponents.sum(-1, keepdim=True) @ v


def attention(x: Tensor, state: Mapping[str, Tensor], embed: Shares, heads: Shares) -> Tensor:
    size = x.shape[-1]
    # The joint projection has all its outputs whatever the architecture, so its bias follows no choice.
    qkv = state["attn.c_attn.bias"]
    for share, width in embed:
        qkv = qkv + share * (x @ padded(state["attn.c_attn.weight"], width, None))
    q, k, v = qkv[..., :size], qkv[..., size : 2 * size], qkv[..., 2 * size :]
    attended = torch.zeros_like(x)
    for share, count in heads:
        mixed_q, mixed_k, mixed_v = torch.zeros_like(q), torch.zeros_like(k), torch.zeros_like(v)
        for weight, width in embed:
            mixed_q = mixed_q + weight * head_prefixes(q, count, width) / math.sqrt(width / count)
            mixed_k = mixed_k + weight * head_prefixes(k, count, width)
            mixed_v = mixed_v + weight * head_prefixes(v, count, width)
        for head in range(count):
            own = slice(head * size // count, (head + 1) * size // count)
            out = causal_attention(mixed_q[..., own], mixed_k[..., own], mixed_v[..., own])
            attended = attended + share * F.pad(out, (own.start, size - own.stop))
    y = torch.zeros_like(x)
    for share, width in embed:
        y = y + share * (attended @ padded(state["attn.c_proj.weight"], None, width))
        y = y + share * padded_prefix(state["attn.c_proj.bias"], width)
    return y


def gelu_tanh(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def mlp(x: Tensor, state: Mapping[str, Tensor], embed: Shares, ratio: Shares) -> Tensor:
    hidden: Tensor | float = 0.0
    for a, width in embed:
        for b, multiple in ratio:
            units = round(width * multiple)
            hidden = hidden + a * b * (x @ padded(state["mlp.c_fc.weight"], width, units))
            hidden = hidden + a * b * padded_prefix(state["mlp.c_fc.bias"], units)
    assert isinstance(hidden, Tensor)
    hidden = gelu_tanh(hidden)
    y = torch.zeros_like(x)
    for a, width in embed:
        for b, multiple in ratio:
            y = y + a * b * (hidden @ padded(state["mlp.c_proj.weight"], round(width * multiple), width))
        y = y + a * padded_prefix(state["mlp.c_proj.bias"], width)
    return y


def block(x: Tensor, state: Mapping[str, Tensor], embed: Shares, heads: Shares, ratio: Shares) -> Tensor:
    x = x + attention(prefix_norms(x, state["ln_1.weight"], state["ln_1.bias"], embed), state, embed, heads)
    return x + mlp(prefix_norms(x, state["ln_2.weight"], state["ln_2.bias"], embed), state, embed, ratio)


def depths(
    x: Tensor, state: Mapping[str, Tensor], options: Mapping[str, Sequence[float]], weights: Mapping[str, Tensor]
) -> Tensor:
    """The mixture of the nets of every depth, each run from the start on its own."""
    mixed = torch.zeros_like(x)
    for share, count in Shares(weights["depth"], options["depth"]):
        hidden = x
        for layer in range(count):
            hidden = numbered_block(hidden, state, options, weights, layer, layer)
        mixed = mixed + share * hidden
    return mixed


def ordered_depths(
    x: Tensor,
    state: Mapping[str, Tensor],
    options: Mapping[str, Sequence[float]],
    weights: Mapping[str, Tensor],
    order: Sequence[int],
) -> Tensor:
    """What every layer adds is mixed over the depths that hold it: a depth of l holds the first l of ``order``.

    A layer that all depths hold is run as it is, as their weights sum to one.
    """
    for layer in range(len(order)):
        rank = order.index(layer)
        added = numbered_block(x, state, options, weights, layer, rank) - x
        if rank < min(options["depth"]):
            x = x + added
            continue
        for share, count in Shares(weights["depth"], options["depth"]):
            if rank < count:
                x = x + share * added
    return x


def numbered_block(
    x: Tensor,
    state: Mapping[str, Tensor],
    options: Mapping[str, Sequence[float]],
    weights: Mapping[str, Tensor],
    layer: int,
    rank: int,
) -> Tensor:
    """One layer, which reads the row ``rank`` of what each layer chooses alone."""
    start = f"transformer.h.{layer}."
    own = {name.removeprefix(start): tensor for name, tensor in state.items() if name.startswith(start)}
    embed = Shares(weights["embed_dim"], options["embed_dim"])
    heads = at_layer(weights, options, "num_heads", rank)
    return block(x, own, embed, heads, at_layer(weights, options, "mlp_ratio", rank))


def logits(
    state: Mapping[str, Tensor],
    ids: Tensor,
    options: Mapping[str, Sequence[float]],
    weights: Mapping[str, Tensor],
    order: Sequence[int] | None = None,
) -> Tensor:
    """Logits ``(batch, tokens, vocabulary)`` of the mixture; the head is tied to the token embedding.

    Mixture weights are ``(options,)``, or ``(layers, options)`` where each layer chooses alone.
    """
    embed = Shares(weights["embed_dim"], options["embed_dim"])
    table, positions = state["transformer.wte.weight"], state["transformer.wpe.weight"][: ids.shape[1]]
    x = torch.zeros(*ids.shape, table.shape[1], dtype=table.dtype)
    for share, width in embed:
        x = x + share * (padded(table, None, width)[ids] + padded(positions, None, width))
    mixed = depths(x, state, options, weights) if order is None else ordered_depths(x, state, options, weights, order)
    normed = prefix_norms(mixed, state["transformer.ln_f.weight"], state["transformer.ln_f.bias"], embed)
    result: Tensor | float = 0.0
    for share, width in embed:
        result = result + share * (normed @ padded(table, None, width).T)
    assert isinstance(result, Tensor)
    return result
