"""A Llama space through the same app as GPT-2's, end to end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from knotwork_tasks import SavedRun
from transformers import AutoModelForCausalLM

from .conftest import Main

SPACE = """\
family: llama
model_type: qwen3
embed_dim: [8, 16]
depth: [1, 2]
num_kv_heads: [1, 2]
heads_per_group: [1, 2]
head_dim: [4, 8]
intermediate_size: [12, 24, 40]
block_size: 16
tie_word_embeddings: true
recipe: {tokenizer: "train:260", max_steps: 6, batch_size: 4, learning_rate: 0.01}
"""


@pytest.mark.slow
@pytest.mark.verified
def test_a_run_on_a_llama_space(search_gpt: Main, text_file: Path, tmp_path: Path):
    (tmp_path / "space.yaml").write_text(SPACE)
    run = tmp_path / "run"
    flags = ["--space", str(tmp_path / "space.yaml"), "--dataset", str(text_file), "--granularity", "per-layer"]
    assert search_gpt([*flags, "--candidates", "4", "--finetune-steps", "2", "--output-dir", str(run)]) == 0
    outcome = json.loads((run / "architecture.json").read_text())
    assert 0.85 * outcome["budget"]["params"] <= outcome["cost"]["params"] <= outcome["budget"]["params"]
    assert len(outcome["samples"]) == 3
    model = AutoModelForCausalLM.from_pretrained(run / "model", trust_remote_code=True)
    assert sum(parameter.numel() for parameter in model.parameters()) == outcome["cost"]["params"]
    saved, ids = SavedRun(run), torch.randint(200, (1, 16))
    with torch.inference_mode():
        expected = saved.supernet.logits(ids, saved.found)
        torch.testing.assert_close(model.eval()(input_ids=ids).logits, expected, rtol=1e-5, atol=1e-5)
