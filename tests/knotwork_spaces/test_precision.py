"""What stays in float32 when the rest of a supernet runs in bfloat16: mixtures, statistics of norms, gradients to both."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from knotwork_ops import Mixture
from knotwork_spaces.gpt2 import GPT2Space
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from .cells_cases import cells_supernet, tiny_cells
from .comparison import random_alphas, spread_supernet, tiny_space
from .llama_cases import CASES, spread_llama, tiny_llama
from .vit_cases import KINDS, images, tiny_vit, vit_supernet

STATISTICS = ("rsqrt", "native_layer_norm", "_fused_rms_norm", "var_mean", "native_batch_norm")
"""What computes a norm's statistics: of a mixture the last step of Knotwork's own, of an architecture torch's."""
CASTS = ("_to_copy",)
"""What brings a mixture's weights to the precision of the activations that they are multiplied with."""


class Watch(TorchDispatchMode):
    """Notes the precision of statistics, and of all that is computed of the mixture's weights alone, below autocast.

    Attributes:
        statistics: of each norm, its operation and the precisions of what it reads and of what it gives.
        mixtures: the same of the operations whose results depend on weights of the mixture, and on no others and no data.
        products: the operations that read both, such as the one that scales activations by a weight.
    """

    def __init__(self, weights: list[Tensor], others: list[Tensor]) -> None:
        super().__init__()
        self.statistics: set[tuple[str, str]] = set()
        self.mixtures: set[tuple[str, str]] = set()
        self.products = 0
        self._kept: list[Tensor] = [*weights, *others]  # so that no other tensor gets the address of one
        self._mixed, self._other = {id(w) for w in weights}, {id(other) for other in others}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__.rstrip("_")
        given = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        made = [value for value in tree_leaves(result) if isinstance(value, Tensor)]
        mixed, other = (any(id(value) in ids for value in given) for ids in (self._mixed, self._other))
        if name in STATISTICS:
            # The first result of torch's norms is the normed input itself, the others are the statistics.
            values = [*given, *made] if name == "rsqrt" else made[1:]
            self.statistics |= {(name, str(value.dtype)) for value in values}
        if mixed and not other and name not in CASTS:
            self.mixtures |= {(name, str(value.dtype)) for value in (*given, *made) if value.is_floating_point()}
        self.products += mixed and other
        self._kept += made
        (self._other if other else self._mixed if mixed else set()).update(map(id, made))
        return result


def text(vocabulary: int) -> dict[str, Tensor]:
    return {"input_ids": torch.randint(vocabulary, (2, 6), generator=torch.Generator().manual_seed(0))}


def gpt2() -> tuple[Any, dict[str, Tensor]]:
    space = tiny_space(GPT2Space.per_layer_choices)
    return spread_supernet(space, torch.float32), text(space.vocab_size)


def llama(case: str) -> tuple[Any, dict[str, Tensor]]:
    space = tiny_llama(**CASES[case])
    return spread_llama(space, torch.float32), text(space.vocab_size)


def vit(kind: str) -> tuple[Any, dict[str, Tensor]]:
    space = tiny_vit(("num_heads",), **KINDS[kind])
    return vit_supernet(space, torch.float32), {"image": images(space, torch.float32), "label": torch.tensor([3, 0])}


def cells() -> tuple[Any, dict[str, Tensor]]:
    space = tiny_cells()
    image = torch.randn(2, space.channels, space.image_size, space.image_size, generator=torch.Generator().manual_seed(0))
    return cells_supernet(space, torch.float32).train(), {"image": image, "label": torch.tensor([2, 0])}


FAMILIES = {
    "gpt2": gpt2,
    **{case: lambda case=case: llama(case) for case in ("llama, untied, head widths", "qwen3, tied")},
    **{
        f"vit, {kind}": lambda kind=kind: vit(kind)
        for kind in ("plain", "fixed heads, average, layer scale, no qkv bias", "norm before the blocks", "registers")
    },
    "cells": cells,
}


def watched(family: str, mixed: bool) -> tuple[Watch, dict[str, Tensor]]:
    """A loss in autocast and its gradients, and the alphas."""
    supernet, batch = FAMILIES[family]()
    alphas = random_alphas(supernet.space, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        mixture = Mixture(supernet.space, {name: alpha.softmax(-1) for name, alpha in alphas.items()})
        assert {weight.dtype for weight in mixture.values()} == {torch.float32}
        with Watch(list(mixture.values()), [*supernet.parameters(), *batch.values()]) as watch:
            loss = supernet.loss(batch, mixture if mixed else supernet.space.largest)
    assert loss.dtype == torch.float32
    loss.backward()
    assert {parameter.grad.dtype for parameter in supernet.parameters() if parameter.grad is not None} == {torch.float32}
    return watch, alphas


@pytest.mark.parametrize("family", list(FAMILIES))
def test_mixtures_stay_in_float32_in_autocast(family: str):
    watch, alphas = watched(family, mixed=True)
    assert {dtype for _, dtype in watch.mixtures} == {"torch.float32"}, watch.mixtures
    assert watch.products > 10 or family == "cells"
    for alpha in alphas.values():
        assert alpha.grad is not None
        assert alpha.grad.dtype == torch.float32
        assert bool(alpha.grad.isfinite().all())
        assert bool(alpha.grad.any()) or alpha.shape[-1] == 1


@pytest.mark.parametrize("mixed", [True, False])
@pytest.mark.parametrize("family", list(FAMILIES))
def test_statistics_of_norms_stay_in_float32_in_autocast(family: str, mixed: bool):
    watch, _ = watched(family, mixed)
    assert {dtype for _, dtype in watch.statistics} == {"torch.float32"}, watch.statistics
