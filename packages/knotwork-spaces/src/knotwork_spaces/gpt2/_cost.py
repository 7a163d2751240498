"""Exact parameters and FLOPs of GPT-2 subnets, differentiable in a mixture."""

from __future__ import annotations

import torch
from knotwork_ops import Architecture, Mixture
from torch import Tensor

from knotwork_spaces.gpt2._space import GPT2Space


def gpt2_cost(space: GPT2Space, selection: Mixture | Architecture) -> dict[str, Tensor]:
    """Parameters and FLOPs per token of an architecture, or their expectation under a mixture's independent choices.

    FLOPs are those of a forward pass over a whole block divided by its tokens, two for a multiply-add of every matrix product,
    attention counted without regard to the causal mask: what torch's ``FlopCounterMode`` counts on the extracted net.

    Returns:
        ``params`` and ``flops``, 0-dim tensors, float64 so that large counts stay whole numbers.
    """
    if isinstance(selection, Architecture):
        selection = Mixture.one_hot(space, selection, dtype=torch.float64)
    weights = {name: weight.double() for name, weight in selection.items()}
    layers = space["depth"].options[-1]
    depth = _options(space, "depth", weights["depth"])
    used = torch.stack([(weights["depth"] * (depth > layer)).sum() for layer in range(int(layers))])
    ratio = (weights["mlp_ratio"] * _options(space, "mlp_ratio", weights["mlp_ratio"])).sum(-1)
    # Expected ratio summed over the layers that are used: ratio and depth are independent.
    ratios, depths = (used * ratio).sum(), used.sum()
    e = _options(space, "embed_dim", weights["embed_dim"])
    attention = 4 * e**2 + 4 * e
    norms = 4 * e
    params = (space.vocab_size + space.block_size + 2) * e + depths * (attention + norms + e) + ratios * (2 * e**2 + e)
    products = space.vocab_size * e + depths * (4 * e**2 + 2 * space.block_size * e) + ratios * 2 * e**2
    return {
        "params": (weights["embed_dim"] * params).sum(),
        "flops": (weights["embed_dim"] * 2 * products).sum(),
    }


def _options(space: GPT2Space, name: str, like: Tensor) -> Tensor:
    return torch.tensor(space[name].numbers, dtype=torch.float64, device=like.device)
