"""Llama under a mixture, written out naively from a state dict: every option's sub-block is padded with zeros and summed.

As ``oracle.py``, it knows nothing of how knotwork_ops or knotwork_spaces compute. ``nn.Linear`` stores its weights (out, in).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .oracle import Shares, at_layer, causal_attention, padded


@dataclass(frozen=True)
class Settings:
    """What is not a choice: ``eps`` of all norms, base of the rotary wavelengths, whether queries and keys have norms."""

    eps: float
    theta: float
    head_norms: bool


def linear(x: Tensor, weight: Tensor, rows: Shares | None, columns: Shares | None) -> Tensor:
    """The sum over pairs of options; None is a dimension that is used whole."""
    whole = [(1.0, None)]
    y: Any = 0.0
    for a, out in rows or whole:
        for b, into in columns or whole:
            y = y + a * b * (x @ padded(weight, out, into).T)
    return y


def rms(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x / ((x**2).sum(-1, keepdim=True) / x.shape[-1] + eps).sqrt() * weight


def prefix_norms(x: Tensor, weight: Tensor, embed: Shares, eps: float) -> Tensor:
    y = torch.zeros_like(x)
    for share, width in embed:
        y = y + share * F.pad(rms(x[..., :width], weight[:width], eps), (0, x.shape[-1] - width))
    return y


def rotated(x: Tensor, theta: float) -> Tensor:
    """One head (batch, tokens, width). Upstream's angles are float32 in every model."""
    tokens, width = x.shape[-2:]
    frequencies = 1.0 / theta ** (torch.arange(0, width, 2, dtype=torch.float32) / width)
    angles = torch.arange(tokens, dtype=torch.float32)[:, None] * frequencies
    angles = torch.cat((angles, angles), -1)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    units: list[Tensor] = [x[..., 0]] * width
    for pair in range(width // 2):
        other = pair + width // 2
        units[pair] = x[..., pair] * cos[:, pair] - x[..., other] * sin[:, pair]
        units[other] = x[..., other] * cos[:, pair] + x[..., pair] * sin[:, pair]
    return torch.stack(units, -1)


def kept_pairs(width: int, largest: int) -> list[int]:
    """The units of the widest head whose pairs have the wavelengths of a head of this width."""
    return [half * largest // 2 + pair * largest // width for half in (0, 1) for pair in range(width // 2)]


def head(q: Tensor, k: Tensor, v: Tensor, width: int, state: Mapping[str, Tensor], settings: Settings) -> Tensor:
    """What a head of the largest net gives when it has ``width`` units, padded to its own."""
    units = kept_pairs(width, q.shape[-1])
    q, k = q[..., units], k[..., units]
    if settings.head_norms:
        q = rms(q, state["self_attn.q_norm.weight"][units], settings.eps)
        k = rms(k, state["self_attn.k_norm.weight"][units], settings.eps)
    q, k = rotated(q, settings.theta) / math.sqrt(width), rotated(k, settings.theta)
    return F.pad(causal_attention(q, k, v[..., :width]), (0, v.shape[-1] - width))


def attention(
    x: Tensor, state: Mapping[str, Tensor], embed: Shares, groups: Shares, members: Shares, widths: Shares, settings: Settings
) -> Tensor:
    most, size = members.options[-1], widths.options[-1]
    q, k, v = (linear(x, state[f"self_attn.{name}_proj.weight"], None, embed) for name in "qkv")
    heads, kv = q.unflatten(-1, (-1, size)).unbind(-2), [t.unflatten(-1, (-1, size)).unbind(-2) for t in (k, v)]
    attended = [torch.zeros_like(one) for one in heads]
    for a, width in widths:
        for b, group_count in groups:
            for c, member_count in members:
                for group in range(group_count):
                    for member in range(member_count):
                        number = group * most + member
                        out = head(heads[number], kv[0][group], kv[1][group], width, state, settings)
                        attended[number] = attended[number] + a * b * c * out
    return linear(torch.cat(attended, -1), state["self_attn.o_proj.weight"], embed, None)


def mlp(x: Tensor, state: Mapping[str, Tensor], embed: Shares, inner: Shares) -> Tensor:
    gate = linear(x, state["mlp.gate_proj.weight"], inner, embed)
    hidden = gate * torch.sigmoid(gate) * linear(x, state["mlp.up_proj.weight"], inner, embed)
    return linear(hidden, state["mlp.down_proj.weight"], embed, inner)


def logits(
    state: Mapping[str, Tensor],
    ids: Tensor,
    options: Mapping[str, Sequence[Any]],
    weights: Mapping[str, Tensor],
    settings: Settings,
) -> Tensor:
    """Logits (batch, tokens, vocabulary) of the mixture; without ``lm_head.weight`` the head is tied to the embedding."""
    embed = Shares(weights["embed_dim"], options["embed_dim"])
    table = state["model.embed_tokens.weight"]
    x = torch.zeros(*ids.shape, table.shape[1], dtype=table.dtype)
    for share, width in embed:
        x = x + share * padded(table, None, width)[ids]
    mixed = torch.zeros_like(x)
    for share, count in Shares(weights["depth"], options["depth"]):
        y = x
        for layer in range(count):
            start = f"model.layers.{layer}."
            own = {name.removeprefix(start): tensor for name, tensor in state.items() if name.startswith(start)}
            names = ("num_kv_heads", "heads_per_group", "head_dim", "intermediate_size")
            *heads, inner = (at_layer(weights, options, name, layer) for name in names)
            normed = prefix_norms(y, own["input_layernorm.weight"], embed, settings.eps)
            y = y + attention(normed, own, embed, heads[0], heads[1], heads[2], settings)
            y = y + mlp(prefix_norms(y, own["post_attention_layernorm.weight"], embed, settings.eps), own, embed, inner)
        mixed = mixed + share * y
    normed = prefix_norms(mixed, state["model.norm.weight"], embed, settings.eps)
    return linear(normed, state.get("lm_head.weight", table), None, embed)
