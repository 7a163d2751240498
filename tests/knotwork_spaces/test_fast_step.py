"""A mixture's step on any device: no graph breaks, no recompilation, and no waiting for an accelerator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from knotwork_ops import Mixture
from knotwork_spaces.gpt2 import GPT2Supernet
from knotwork_spaces.llama import LlamaSupernet
from knotwork_spaces.vit import ViTSupernet
from torch import Tensor
from torch._dynamo.utils import counters

from .comparison import GRANULARITIES, assert_all_close, compiling, gradients, random_alphas, tiny_space, token_ids
from .llama_cases import GRANULARITIES as LLAMA_GRANULARITIES
from .llama_cases import tiny_llama
from .vit_cases import tiny_vit


def gpt2() -> tuple[Any, dict[str, Tensor]]:
    space = tiny_space(GRANULARITIES["per_layer"])
    return GPT2Supernet(space), {"input_ids": token_ids(space, seed=0)}


def llama() -> tuple[Any, dict[str, Tensor]]:
    space = tiny_llama(LLAMA_GRANULARITIES["per_layer"], model_type="qwen3", head_dim=[2, 4])
    return LlamaSupernet(space), {"input_ids": token_ids(space, seed=0)}


def vit() -> tuple[Any, dict[str, Tensor]]:
    space = tiny_vit(GRANULARITIES["per_layer"], drop_path_rate=0.2)
    image = torch.randn(2, space.channels, space.image_size, space.image_size)
    return ViTSupernet(space), {"image": image, "label": torch.tensor([0, 1])}


families = pytest.mark.parametrize("build", [gpt2, llama, vit])
Build = Callable[[], tuple[Any, dict[str, Tensor]]]


def draw(space: Any, alphas: dict[str, Tensor]) -> Mixture:
    """As DrNAS draws."""
    concentrations = {name: torch.nn.functional.elu(alpha) + 1 for name, alpha in alphas.items()}
    drawn = {name: torch.distributions.Dirichlet(c, validate_args=False).rsample() for name, c in concentrations.items()}
    return Mixture(space, drawn)


def step(supernet: Any, batch: dict[str, Tensor], alphas: dict[str, Tensor]) -> None:
    """An architecture step and a weight step, each with a draw of its own."""
    supernet.requires_grad_(False)
    supernet.loss(batch, draw(supernet.space, alphas)).backward()
    supernet.requires_grad_(True)
    with torch.no_grad():
        mixture = draw(supernet.space, alphas)
    supernet.loss(batch, mixture).backward()


@compiling
@families
def test_blocks_compile_whole_and_once(build: Build):
    torch._dynamo.reset()
    counters.clear()
    supernet, batch = build()
    supernet.train().compile(backend="eager")
    alphas = random_alphas(supernet.space, torch.float32)
    for _ in range(3):
        step(supernet, batch, alphas)
    settled = counters["stats"]["unique_graphs"]
    # One for each kind of step and each compiled function, whatever the number of layers and whatever differs between them.
    assert settled == (4 if build is vit else 2)
    for _ in range(3):
        step(supernet, batch, alphas)
    assert counters["stats"]["unique_graphs"] == settled
    assert not counters["graph_break"]
    torch._dynamo.reset()


@compiling
@families
@pytest.mark.parametrize("architecture_step", [True, False])
def test_compiled_blocks_have_the_same_gradients(build: Build, architecture_step: bool):
    supernet, batch = build()
    supernet.double().eval().requires_grad_(not architecture_step)
    batch = {name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in batch.items()}
    alphas = random_alphas(supernet.space)
    leaves = dict(supernet.named_parameters()) if not architecture_step else alphas

    def found() -> dict[str, Tensor]:
        weights = {name: alpha.softmax(-1) for name, alpha in alphas.items()}
        drawn = weights if architecture_step else {name: weight.detach() for name, weight in weights.items()}
        return gradients(supernet.loss(batch, Mixture(supernet.space, drawn)), leaves)

    expected = found()
    torch._dynamo.reset()
    supernet.compile(backend="aot_eager")
    assert_all_close(found(), expected)
    torch._dynamo.reset()


@families
@pytest.mark.parametrize("architecture_step", [True, False])
def test_no_step_waits_for_the_accelerator(build: Build, architecture_step: bool):
    """On the meta device, where there are no values, whatever would wait for one raises."""
    supernet, batch = build()
    supernet.to("meta").requires_grad_(not architecture_step)
    alphas = {name: alpha.detach().to("meta") for name, alpha in random_alphas(supernet.space, torch.float32).items()}
    leaves = {name: alpha.requires_grad_(architecture_step) for name, alpha in alphas.items()}
    with pytest.raises(RuntimeError, match="meta"):
        leaves["depth"].sum().item()
    # There is no Dirichlet on this device, so this is DARTS's mixture.
    mixture = Mixture(supernet.space, {name: alpha.softmax(-1) for name, alpha in leaves.items()})
    supernet.loss({name: tensor.to("meta") for name, tensor in batch.items()}, mixture).backward()
    trained = leaves.values() if architecture_step else supernet.parameters()
    assert all(leaf.grad is not None for leaf in trained)
