"""A language model is read from its folder by installed code alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from knotwork_spaces.llama import LlamaSpace, LlamaSupernet
from knotwork_tasks.text._network import load_language_model, longest_block


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen3"])
def test_llamas_whose_layers_differ_need_no_trust(kind: str, tmp_path: Path):
    counts = {"num_kv_heads": [1, 2], "heads_per_group": [1, 2], "intermediate_size": [8, 12]}
    space: Any = LlamaSpace.build(
        embed_dim=[16], depth=[2], head_dim=[4], **counts, per_layer=list(counts), model_type=kind, vocab_size=11, block_size=6
    )
    fixed = {"embed_dim": 16, "depth": 2, "head_dim": 4}
    varied = {"num_kv_heads": [1, 2], "heads_per_group": [2, 1], "intermediate_size": [8, 12]}
    model: Any = LlamaSupernet(space).extract(space.architecture({**fixed, **varied})).eval()
    model.save_pretrained(tmp_path)
    loaded, ids = load_language_model(tmp_path).eval(), torch.randint(11, (2, 6))
    assert type(loaded) is type(model)
    assert torch.equal(loaded(ids).logits, model(ids).logits)
    assert longest_block(loaded) == 6
