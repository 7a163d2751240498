"""A ViT under a mixture, written out naively from a state dict: every option's sub-block is padded with zeros and summed.

As in ``oracle.py`` only torch's basic operations and loops over options, so that each line can be read against the table of
design.md, section 3. ``nn.Linear`` stores its weights ``(out, in)``, as the table does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from .oracle import Shares, at_layer, head_prefixes, padded, padded_prefix, prefix_norms


@dataclass(frozen=True)
class Net:
    """What a state dict does not say about a ViT.

    Attributes:
        patch_size: of the images, which are cut into patches row by row.
        head_dim: units of every head, or None for an even share of the embedding.
        global_pool: ``token`` or ``avg``, which leaves the ``prefix`` tokens out.
        prefix: class and register tokens.
        embed_prefix: whether these have positions too.
        eps: of the norms.
    """

    patch_size: int
    head_dim: int | None
    global_pool: str
    prefix: int
    embed_prefix: bool
    eps: float


State = Mapping[str, Tensor]


def part_of(state: State, start: str) -> dict[str, Tensor]:
    return {name.removeprefix(start): tensor for name, tensor in state.items() if name.startswith(start)}


def mixed_prefixes(x: Tensor, embed: Shares) -> Tensor:
    y = torch.zeros_like(x)
    for share, width in embed:
        y = y + share * padded_prefix(x, width)
    return y


def norm(x: Tensor, state: State, name: str, embed: Shares, net: Net) -> Tensor:
    """The norm of that name, where the net has it."""
    if f"{name}.weight" not in state:
        return x
    return prefix_norms(x, state[f"{name}.weight"], state[f"{name}.bias"], embed, net.eps)


def patches(image: Tensor, state: State, embed: Shares, net: Net) -> Tensor:
    """(batch, patches, embedding): every patch is one product with the flattened filters."""
    filters, size = state["patch_embed.proj.weight"].flatten(1), net.patch_size
    tokens = []
    for top in range(0, image.shape[2], size):
        for left in range(0, image.shape[3], size):
            pixels = image[:, :, top : top + size, left : left + size].flatten(1)
            token: Tensor | float = 0.0
            for share, width in embed:
                token = token + share * (pixels @ padded(filters, width, None).T)
                if "patch_embed.proj.bias" in state:
                    token = token + share * padded_prefix(state["patch_embed.proj.bias"], width)
            tokens.append(token)
    return torch.stack(tokens, 1)


def embedded(image: Tensor, state: State, embed: Shares, net: Net) -> Tensor:
    x = patches(image, state, embed, net)
    positions = mixed_prefixes(state["pos_embed"], embed)
    first = [mixed_prefixes(state[name], embed) for name in ("cls_token", "reg_token") if name in state]
    first = [token.expand(len(x), -1, -1) for token in first]
    if net.embed_prefix:
        return torch.cat([*first, x], 1) + positions
    return torch.cat([*first, x + positions], 1)


def one_head(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention of every token to every token, without a scale."""
    exponents = (q @ k.transpose(-1, -2)).exp()
    return exponents / exponents.sum(-1, keepdim=True) @ v


def shared_heads(q: Tensor, k: Tensor, v: Tensor, embed: Shares, heads: Shares) -> Tensor:
    """Heads that split the embedding: each option uses the first e/h dims of each of h super-heads."""
    size, attended = q.shape[-1], torch.zeros_like(q)
    for share, count in heads:
        mixed_q, mixed_k, mixed_v = torch.zeros_like(q), torch.zeros_like(k), torch.zeros_like(v)
        for weight, width in embed:
            mixed_q = mixed_q + weight * head_prefixes(q, count, width) / math.sqrt(width / count)
            mixed_k = mixed_k + weight * head_prefixes(k, count, width)
            mixed_v = mixed_v + weight * head_prefixes(v, count, width)
        for head in range(count):
            own = slice(head * size // count, (head + 1) * size // count)
            out = one_head(mixed_q[..., own], mixed_k[..., own], mixed_v[..., own])
            attended = attended + share * F.pad(out, (own.start, size - own.stop))
    return attended


def fixed_heads(q: Tensor, k: Tensor, v: Tensor, heads: Shares, head_dim: int) -> Tensor:
    """Heads of one width: a count of h uses the first h."""
    size, attended = q.shape[-1], torch.zeros_like(q)
    for share, count in heads:
        for head in range(count):
            own = slice(head * head_dim, (head + 1) * head_dim)
            out = one_head(q[..., own] / math.sqrt(head_dim), k[..., own], v[..., own])
            attended = attended + share * F.pad(out, (own.start, size - own.stop))
    return attended


def attention(x: Tensor, state: State, embed: Shares, heads: Shares, net: Net) -> Tensor:
    # The joint projection has all its outputs whatever the architecture, so its bias follows no choice.
    joint = state.get("qkv.bias", torch.zeros(len(state["qkv.weight"]), dtype=x.dtype))
    for share, width in embed:
        joint = joint + share * (x @ padded(state["qkv.weight"], None, width).T)
    size = joint.shape[-1] // 3
    q, k, v = joint[..., :size], joint[..., size : 2 * size], joint[..., 2 * size :]
    fixed = net.head_dim
    attended = shared_heads(q, k, v, embed, heads) if fixed is None else fixed_heads(q, k, v, heads, fixed)
    y = torch.zeros_like(x)
    for share, width in embed:
        y = y + share * (attended @ padded(state["proj.weight"], width, None).T)
        y = y + share * padded_prefix(state["proj.bias"], width)
    return y


def mlp(x: Tensor, state: State, embed: Shares, ratio: Shares) -> Tensor:
    hidden: Tensor | float = 0.0
    for a, width in embed:
        for b, multiple in ratio:
            units = round(width * multiple)
            hidden = hidden + a * b * (x @ padded(state["fc1.weight"], units, width).T)
            hidden = hidden + a * b * padded_prefix(state["fc1.bias"], units)
    assert isinstance(hidden, Tensor)
    hidden = hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2  # GELU
    y = torch.zeros_like(x)
    for a, width in embed:
        for b, multiple in ratio:
            y = y + a * b * (hidden @ padded(state["fc2.weight"], width, round(width * multiple)).T)
        y = y + a * padded_prefix(state["fc2.bias"], width)
    return y


def layer_scale(x: Tensor, state: State, name: str, embed: Shares) -> Tensor:
    """An operation of its own: each option scales its own prefix of what comes in, and the outputs are mixed."""
    if name not in state:
        return x
    y = torch.zeros_like(x)
    for share, width in embed:
        y = y + share * padded_prefix(x * state[name], width)
    return y


def block(x: Tensor, state: State, embed: Shares, heads: Shares, ratio: Shares, net: Net) -> Tensor:
    y = attention(norm(x, state, "norm1", embed, net), part_of(state, "attn."), embed, heads, net)
    x = x + layer_scale(y, state, "ls1.gamma", embed)
    y = mlp(norm(x, state, "norm2", embed, net), part_of(state, "mlp."), embed, ratio)
    return x + layer_scale(y, state, "ls2.gamma", embed)


def logits(
    state: State, image: Tensor, options: Mapping[str, Sequence[float]], weights: Mapping[str, Tensor], net: Net
) -> Tensor:
    """Logits ``(batch, classes)`` of the mixture.

    Mixture weights are ``(options,)``, or ``(layers, options)`` where each layer chooses alone.
    """
    embed = Shares(weights["embed_dim"], options["embed_dim"])
    x = norm(embedded(image, state, embed, net), state, "norm_pre", embed, net)
    mixed = torch.zeros_like(x)
    for share, count in Shares(weights["depth"], options["depth"]):
        # Every depth runs from the start on its own.
        hidden = x
        for layer in range(count):
            heads = at_layer(weights, options, "num_heads", layer)
            ratio = at_layer(weights, options, "mlp_ratio", layer)
            hidden = block(hidden, part_of(state, f"blocks.{layer}."), embed, heads, ratio, net)
        mixed = mixed + share * hidden
    x = norm(mixed, state, "norm", embed, net)
    x = x[:, 0] if net.global_pool == "token" else x[:, net.prefix :].mean(1)
    x = norm(x, state, "fc_norm", embed, net)
    result = state["head.bias"]
    for share, width in embed:
        result = result + share * (x @ padded(state["head.weight"], None, width).T)
    return result
