"""Exact parameters and FLOPs of Llama subnets, differentiable in a mixture."""

from __future__ import annotations

import torch
from knotwork_ops import Architecture, Mixture
from torch import Tensor

from knotwork_spaces.llama._space import LlamaSpace


def llama_cost(space: LlamaSpace, selection: Mixture | Architecture) -> dict[str, Tensor]:
    """Parameters and FLOPs per token of an architecture, or their expectation under a mixture's independent choices.

    FLOPs are those of a forward pass over a whole block divided by its tokens, two for a multiply-add of every matrix product,
    attention counted without regard to the causal mask: what torch's ``FlopCounterMode`` counts on the extracted net.

    Returns:
        ``params`` and ``flops``, 0-dim tensors, float64 so that large counts stay whole numbers.
    """
    if isinstance(selection, Architecture):
        selection = Mixture.one_hot(space, selection, dtype=torch.float64)
    # Costs are linear in every choice and the choices are independent, so the mean of each is all that counts.
    mean = {name: (weight.double() * _options(space, name, weight)).sum(-1) for name, weight in selection.items()}
    e, width, groups = mean["embed_dim"], mean["head_dim"], mean["num_kv_heads"]
    depth = selection["depth"].double()
    options = _options(space, "depth", depth)
    used = torch.stack([(depth * (options > layer)).sum() for layer in range(int(options[-1]))])
    # Units of all keys, of all queries, and of all MLPs, summed over the layers that are used.
    keys = (used * groups).sum() * width
    queries = (used * groups * mean["heads_per_group"]).sum() * width
    inner, layers = (used * mean["intermediate_size"]).sum(), used.sum()
    matrices = e * (2 * queries + 2 * keys + 3 * inner)
    norms = (2 * layers + 1) * e + (2 * layers * width if space.model_type == "qwen3" else 0)
    tables = space.vocab_size * e * (1 if space.tie_word_embeddings else 2)
    products = matrices + 2 * space.block_size * queries + space.vocab_size * e
    return {"params": tables + matrices + norms, "flops": 2 * products}


def _options(space: LlamaSpace, name: str, like: Tensor) -> Tensor:
    return torch.tensor(space[name].numbers, dtype=torch.float64, device=like.device)
