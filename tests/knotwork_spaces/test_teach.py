"""In-place distillation: a subnet's cross-entropy from what another predicts, against the logits of both."""

from typing import Any

import pytest
import torch
from knotwork_ops import Mixture
from knotwork_spaces.gpt2 import GPT2Space, GPT2Supernet
from knotwork_spaces.llama import LlamaSpace, LlamaSupernet
from knotwork_spaces.vit import ViTSpace, ViTSupernet
from torch.nn import functional as F

from .comparison import some_architectures

CHOICES: dict[str, Any] = {"embed_dim": [8, 16], "depth": [1, 2], "num_heads": [2, 4], "mlp_ratio": [1, 2]}


def text() -> tuple[Any, dict[str, torch.Tensor]]:
    space = GPT2Space.build(**CHOICES, vocab_size=11, block_size=6, dropout=0.0)
    torch.manual_seed(0)
    return GPT2Supernet(space).double(), {"input_ids": torch.randint(11, (3, 7))}


def llama_text() -> tuple[Any, dict[str, torch.Tensor]]:
    sizes: dict[str, Any] = {"embed_dim": [8, 16], "depth": [1, 2], "intermediate_size": [6, 16]}
    heads: dict[str, Any] = {"num_kv_heads": [1, 2], "heads_per_group": [1, 2], "head_dim": [2, 4]}
    torch.manual_seed(0)
    space = LlamaSpace.build(**sizes, **heads, vocab_size=11, block_size=6)
    return LlamaSupernet(space).double(), {"input_ids": torch.randint(11, (3, 7))}


def images() -> tuple[Any, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    space = ViTSpace.build(
        embed_dim=[8, 16],
        depth=[1, 2],
        num_heads=[2, 4],
        mlp_ratio=[1, 2],
        image_size=8,
        patch_size=4,
        channels=1,
        num_classes=5,
    )
    return ViTSupernet(space).double(), {"image": torch.randn(3, 1, 8, 8).double(), "label": torch.tensor([0, 4, 2])}


def logits_of(supernet: Any, batch: dict[str, torch.Tensor], arch: Any) -> torch.Tensor:
    if "image" in batch:
        return supernet.logits(batch["image"], arch)
    return supernet.logits(batch["input_ids"][:, :-1], arch).flatten(0, 1)


@pytest.mark.parametrize("family", [text, llama_text, images])
def test_a_subnet_learns_what_the_teacher_predicts(family):
    supernet, batch = family()
    weights = list(supernet.parameters())
    for teacher in (supernet.space.largest, supernet.space.smallest):
        loss, taught = supernet.teach(batch, teacher)
        torch.testing.assert_close(loss, supernet.loss(batch, teacher), atol=1e-12, rtol=0)
        assert not any(tensor.requires_grad for tensor in taught.values())
        wanted = logits_of(supernet, batch, teacher).detach().softmax(-1)
        for arch in (*some_architectures(supernet.space), _even(supernet.space)):
            found, expected = supernet.loss(taught, arch), F.cross_entropy(logits_of(supernet, batch, arch), wanted)
            torch.testing.assert_close(found, expected, atol=1e-10, rtol=0)
            pairs = zip(
                torch.autograd.grad(found, weights, allow_unused=True),
                torch.autograd.grad(expected, weights, allow_unused=True),
                strict=True,
            )
            for ours, naive in pairs:
                if ours is not None and naive is not None:
                    torch.testing.assert_close(ours, naive, atol=1e-10, rtol=0)


def _even(space: Any) -> Mixture:
    return Mixture(space, {c.name: torch.full(c.shape, 1 / len(c.options), dtype=torch.float64) for c in space})
