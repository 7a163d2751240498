"""Architecture parameters."""

from __future__ import annotations

import torch
from knotwork_ops import SearchSpace
from torch import Tensor


def initial_alphas(space: SearchSpace, seed: int, scale: float = 1e-3, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """Leaf tensors of each choice's shape, normal with the given scale, as DARTS starts them (Liu et al. 2019)."""
    generator = torch.Generator().manual_seed(seed)
    alphas = {}
    for choice in space:
        values = scale * torch.randn(choice.shape, generator=generator)
        alphas[choice.name] = values.to(device).requires_grad_()
    return alphas


def entropy(weights: Tensor) -> Tensor:
    """Entropy of mixture weights ``(..., options)`` over that of the uniform mixture, averaged: 1 undecided, 0 decided."""
    if weights.shape[-1] == 1:
        return weights.new_zeros(())
    uniform = torch.log(torch.tensor(float(weights.shape[-1])))
    return -(weights * weights.clamp_min(1e-12).log()).sum(-1).mean() / uniform
