"""Supernets of all transformer families that train in a second, with data that they can learn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from knotwork_search import SearchData
from knotwork_spaces.gpt2 import GPT2Space, GPT2Supernet
from knotwork_spaces.llama import LlamaSpace, LlamaSupernet
from knotwork_spaces.vit import ViTSpace, ViTSupernet
from torch import Tensor

CHOICES: dict[str, Any] = {"embed_dim": [8, 16], "depth": [1, 2], "num_heads": [1, 2], "mlp_ratio": [1, 2]}
VOCABULARY, TOKENS, CLASSES = 11, 8, 3


def gpt2() -> GPT2Supernet:
    per_layer = ["num_heads", "mlp_ratio"]
    return GPT2Supernet(GPT2Space.build(**CHOICES, per_layer=per_layer, vocab_size=VOCABULARY, block_size=TOKENS))


def llama() -> LlamaSupernet:
    sizes: dict[str, Any] = {"embed_dim": [8, 16], "depth": [1, 2], "intermediate_size": [8, 24]}
    heads: dict[str, Any] = {"num_kv_heads": [1, 2], "heads_per_group": [1, 2], "head_dim": [2, 4]}
    return LlamaSupernet(LlamaSpace.build(**sizes, **heads, vocab_size=VOCABULARY, block_size=TOKENS))


def vit() -> ViTSupernet:
    return ViTSupernet(ViTSpace.build(**CHOICES, image_size=8, patch_size=4, channels=1, num_classes=CLASSES))


FAMILIES: dict[str, Callable[[], Any]] = {"gpt2": gpt2, "llama": llama, "vit": vit}


def supernet(family: str, seed: int = 0) -> Any:
    """A supernet with the weights that a seed draws."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return FAMILIES[family]()


def data(family: str) -> SearchData:
    """Sequences that go on by ones or twos; or noise with a bright band, whose place is the class."""
    items = images if family == "vit" else text
    return SearchData(weight=items(64, 1), architecture=items(32, 2))


def text(count: int, seed: int) -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    first = torch.randint(VOCABULARY, (count, 1), generator=generator)
    step = torch.randint(1, 3, (count, 1), generator=generator)
    return [{"input_ids": row} for row in (first + step * torch.arange(TOKENS + 1)) % VOCABULARY]


def images(count: int, seed: int) -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randn(count, 1, 8, 8, generator=generator)
    for number, image in enumerate(pixels):
        image[:, :, 2 * (number % CLASSES) :][..., :3] += 1.5
    return [{"image": image, "label": torch.tensor(number % CLASSES)} for number, image in enumerate(pixels)]
