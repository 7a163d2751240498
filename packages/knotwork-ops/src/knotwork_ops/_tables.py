"""The 0/1 tables that say which units an option uses: tiny, and the same at every step."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, TypeVar

import torch
from torch import Tensor

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def constant(function: FunctionT) -> FunctionT:
    """Computed once for the same arguments, and a constant where torch.compile meets it."""
    cached = lru_cache(maxsize=256)(function)

    @wraps(function)
    def call(*arguments: Any) -> Any:
        with torch.inference_mode(False):
            return cached(*arguments)

    return torch.compiler.assume_constant_result(call)  # type: ignore[return-value]


def check_heads(width: int, heads: int) -> None:
    """Raise ValueError when a width cannot be split evenly over heads."""
    if width % heads:
        raise ValueError(f"width {width} is not divisible by {heads} heads: every width must be divisible by every head count")


@constant
def block_numbers(edges: tuple[int, ...], device: torch.device) -> Tensor:
    """``(size,)``: the block that each unit lies in."""
    return torch.bucketize(torch.arange(edges[-1]), torch.tensor(edges), right=True).to(device)


@constant
def block_table(widths: tuple[int, ...], edges: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """``(len(widths), len(edges))`` of 0 and 1: row i holds ones for the blocks that end within the first ``widths[i]``."""
    return (torch.tensor(edges)[None, :] <= torch.tensor(widths)[:, None]).to(device, dtype)


@constant
def sizes_table(widths: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """``(len(widths), 1)``: the widths themselves."""
    return torch.tensor(widths, dtype=dtype, device=device)[:, None]


@constant
def window_table(sizes: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """``(len(sizes), largest, largest)`` of 0 and 1: table i holds ones for the centred window of size ``sizes[i]``."""
    largest = sizes[-1]
    table = torch.zeros(len(sizes), largest, largest, dtype=dtype, device=device)
    for window, size in zip(table, sizes, strict=True):
        edge = (largest - size) // 2
        window[edge : edge + size, edge : edge + size] = 1
    return table


@constant
def head_tables(
    embeds: tuple[int, ...], heads: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Which units each pair of head count and embedding uses, ``(heads, embeds, size)``: as 0/1, and times 1/sqrt(e/h)."""
    size = embeds[-1]
    for embed in embeds:
        for count in heads:
            check_heads(embed, count)
    used = torch.zeros(len(heads), len(embeds), size, dtype=dtype, device=device)
    for j, count in enumerate(heads):
        for i, embed in enumerate(embeds):
            used[j, i].view(count, -1)[:, : embed // count] = 1
    widths = torch.tensor([[e / h for e in embeds] for h in heads], dtype=dtype, device=device)
    return used, used * widths[..., None] ** -0.5
