"""The Llama spaces and supernets that the tests compare on, and upstream's norms in the precision of what they norm."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from hypothesis import strategies as st
from knotwork_spaces.llama import LlamaSpace, LlamaSupernet
from torch import Tensor
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from transformers.models.mistral.modeling_mistral import MistralRMSNorm
from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm

from .comparison import ascending

GRANULARITIES = {"uniform": (), "per_layer": LlamaSpace.per_layer_choices}
WIDTHS = {"head_dim": [2, 4, 8]}
CASES: dict[str, dict[str, Any]] = {
    "llama, tied": {},
    "llama, untied, head widths": {"tie_word_embeddings": False, **WIDTHS},
    "mistral, untied": {"model_type": "mistral", "tie_word_embeddings": False},
    "qwen3, tied": {"model_type": "qwen3"},
    "qwen3, untied, head widths": {"model_type": "qwen3", "tie_word_embeddings": False, **WIDTHS},
}
cases = pytest.mark.parametrize("case", list(CASES))
granularities = pytest.mark.parametrize("granularity", list(GRANULARITIES))


def tiny_llama(per_layer: Sequence[str] = (), **changes: Any) -> LlamaSpace:
    """Three widths, and counts that leave some out, so that neither the order nor the gaps of options can be mistaken."""
    values: dict[str, Any] = {
        "embed_dim": [6, 18, 24],
        "depth": [1, 3],
        "num_kv_heads": [1, 3],
        "heads_per_group": [1, 2],
        "head_dim": [4],
        "intermediate_size": [3, 8, 20],
        "vocab_size": 13,
        "block_size": 7,
        "tie_word_embeddings": True,
        # The two units of a narrow head may nearly vanish together: a large eps keeps the norm from magnifying rounding.
        "rms_norm_eps": 1e-2,
    }
    return LlamaSpace.build(**{**values, "per_layer": per_layer, **changes})


@st.composite
def llama_spaces(draw: st.DrawFn) -> LlamaSpace:
    return tiny_llama(
        sorted(draw(st.sets(st.sampled_from(LlamaSpace.per_layer_choices)))),
        # Only transformers' LlamaConfig asks for widths that the head count divides.
        model_type=draw(st.sampled_from(["mistral", "qwen3"])),
        embed_dim=draw(ascending([5, 8, 12])),
        depth=draw(ascending([1, 2, 3])),
        num_kv_heads=draw(ascending([1, 2, 3])),
        heads_per_group=draw(ascending([1, 2, 3])),
        head_dim=draw(st.sampled_from([[4], [2, 4], [2, 6], [4, 8]])),
        intermediate_size=draw(ascending([1, 7, 16])),
        tie_word_embeddings=draw(st.booleans()),
    )


def spread_llama(space: LlamaSpace, dtype: torch.dtype = torch.float64, seed: int = 0) -> LlamaSupernet:
    """A supernet in eval mode whose weights, norms included, are far from their neat initial values, as ``spread_supernet``."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        supernet = LlamaSupernet(space).eval()
        for parameter in supernet.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return supernet.to(dtype)


@contextmanager
def exact_norms() -> Iterator[None]:
    """Upstream's norms without their cast to float32, by which its float64 models agree with nothing beyond 1e-7."""

    def forward(self: Any, x: Tensor) -> Tensor:
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon))

    with pytest.MonkeyPatch.context() as patch:
        for norm in (LlamaRMSNorm, MistralRMSNorm, Qwen3RMSNorm):
            patch.setattr(norm, "forward", forward)
        yield
