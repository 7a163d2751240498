"""Optimisers and the learning rate's course."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor


def weight_optimiser(
    parameters: Iterable[tuple[str, nn.Parameter]], learning_rate: float, weight_decay: float, device: torch.device
) -> torch.optim.AdamW:
    """AdamW with GPT-3's betas; vectors (biases, norms) are not decayed, frozen ones have no state.

    Fused on CUDA, unless they are sharded: a fused step that may be skipped takes no shards.
    """
    parameters = [(name, p) for name, p in parameters if p.requires_grad]
    matrices = [p for _, p in parameters if p.dim() > 1]
    vectors = [p for _, p in parameters if p.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    sharded = any(isinstance(p, DTensor) for p in matrices)
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.95), fused=device.type == "cuda" and not sharded)


def architecture_optimiser(alphas: Iterable[Tensor], learning_rate: float) -> torch.optim.Adam:
    """The paper's optimiser of architecture parameters: Adam with betas (0.5, 0.999) and weight decay 1e-3. Fused on CUDA."""
    alphas = list(alphas)
    fused = all(alpha.device.type == "cuda" for alpha in alphas)
    return torch.optim.Adam(alphas, lr=learning_rate, betas=(0.5, 0.999), weight_decay=1e-3, fused=fused)


def cosine(step: int, max_steps: int, warmup: int, floor: float = 0.1) -> float:
    """Factor of the learning rate: linear over ``warmup`` steps, then a half cosine down to ``floor``."""
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, max_steps - warmup)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def set_learning_rate(optimiser: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set every group's learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = learning_rate
