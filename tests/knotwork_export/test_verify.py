"""What verification refuses. Only what must be is proved in a fresh process; the comparisons are fed made-up results."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from knotwork_export import ExportError, _verify, export, verify_export
from knotwork_export._causal_lm import PROBE
from knotwork_export._reference import token_reference
from knotwork_spaces.gpt2 import GPT2Supernet
from torch import Tensor


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """What the fresh process is made to answer."""
    results: dict[str, Tensor] = {}
    monkeypatch.setattr(_verify, "_load_alone", lambda *_: results)
    return results


def test_knotwork_is_blocked_in_the_fresh_process():
    code = f"""
import importlib, importlib.util, runpy
assert importlib.util.find_spec("knotwork_export"), "not installed here, so this proves nothing"
installed = runpy.run_path({str(_verify.SCRIPT)!r}, run_name="alone")["block"]()
assert {{"knotwork_ops", "knotwork_spaces", "knotwork_export"}} <= set(installed), installed
for name in [*installed, "knotwork_ops._choices", "knotwork", "knotwork_later"]:
    try:
        importlib.import_module(name)
    except ImportError:
        continue
    raise SystemExit(f"{{name}} was imported")
"""
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_code_that_needs_knotwork_does_not_load(tmp_path: Path, supernet: GPT2Supernet, architecture):
    model = supernet.extract(architecture("per_layer"))
    folder = export(model, tmp_path / "a", verify=False)
    with (folder / "modeling_per_layer_gpt2.py").open("a") as file:
        file.write("\nimport knotwork_ops\n")
    with pytest.raises(ExportError, match=r"(?s)does not load in a process without knotwork .*knotwork_ops"):
        verify_export(folder, model)


def test_environment_of_the_fresh_process_is_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_CACHE", "TRANSFORMERS_CACHE", "TIMM_FUSED_ATTN", "PYTHONPATH"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    environment = _verify._environment(tmp_path)
    assert "secret" not in environment.values()
    assert environment["HF_HUB_OFFLINE"] == environment["OMP_NUM_THREADS"] == "1"
    assert Path(environment["HF_HOME"]).is_relative_to(tmp_path)
    assert Path(environment["HF_MODULES_CACHE"]).is_relative_to(tmp_path)


def test_equal_results_pass(case, alone: dict[str, Tensor], supernet: GPT2Supernet, tokenizer: Any):
    model = supernet.extract(case.architecture)
    with torch.inference_mode():
        alone["logits.transformers"] = model.eval()(input_ids=case.ids).logits
    alone["token_ids"] = torch.tensor(tokenizer(PROBE)["input_ids"])
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):  # the caller's settings must not reach the comparison
            verify_export(case.folder, model, tokenizer=tokenizer, reference_ids=case.ids, reference_logits=case.logits)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("kind", ["one bit", "precision", "shape", "not finite", "tokens", "another architecture"])
def test_unequal_results_are_errors(case, alone: dict[str, Tensor], supernet: GPT2Supernet, tokenizer: Any, kind: str):
    model, reference = supernet.extract(case.architecture).eval(), case.logits
    with torch.inference_mode():
        logits = model(input_ids=case.ids).logits.clone()
        tokens = torch.tensor(tokenizer(PROBE)["input_ids"])
        message = f"differ from the model's by up to {logits[0, 0, 0].nextafter(torch.tensor(9.0)).sub(logits[0, 0, 0]):.3g}"
        if kind == "one bit":
            logits[0, 0, 0] = logits[0, 0, 0].nextafter(torch.tensor(9.0))
        elif kind == "precision":
            logits, message = logits.double(), r"gives torch\.float64 logits .* but the model torch\.float32"
        elif kind == "shape":
            logits, message = logits[:, :-1], r"logits \(3, 23, 320\), but the model .*\(3, 24, 320\)"
        elif kind == "not finite":
            torch.nn.init.constant_(model.transformer.ln_f.bias, float("nan"))
            message = "the model's logits are not finite"
        elif kind == "tokens":
            tokens[0] += 1
            message = rf"the exported tokenizer reads .* as \[{int(tokens[0])}, "
        else:
            smallest = supernet.space.smallest
            reference, message = supernet.eval().logits(case.ids, smallest), r"differ from reference_logits by up to \d"
    alone.update({"logits.transformers": logits, "token_ids": tokens})
    with pytest.raises(ExportError, match=message):
        verify_export(case.folder, model, tokenizer=tokenizer, reference_ids=case.ids, reference_logits=reference)


@pytest.mark.parametrize(
    ("ids", "logits", "message"),
    [
        (None, torch.zeros(1, 2, 320), "reference_logits were given without reference_ids"),
        (torch.zeros(3, dtype=torch.int64), None, r"reference_ids have shape \(3,\) .* expected .* \(batch, tokens\)"),
        (torch.zeros(1, 3), None, r"type torch\.float32: expected whole numbers"),
        (torch.zeros(1, 25, dtype=torch.int64), None, r"shape \(1, 25\) .* 1 to 24 tokens"),
        (torch.tensor([[3, 320]]), None, "go from 3 to 320: the model's vocabulary is 0 to 319"),
        (torch.tensor([[3, 4]]), torch.zeros(1, 2, 319), r"shape \(1, 2, 319\): expected .* \(1, 2, 320\)"),
    ],
)
def test_reference_must_fit(tmp_path: Path, supernet: GPT2Supernet, architecture, ids: Any, logits: Any, message: str):
    model = supernet.extract(architecture("uniform"))
    with pytest.raises(ValueError, match=message):
        verify_export(tmp_path, model, reference_ids=ids, reference_logits=logits)


def test_default_reference_leaves_the_random_state_alone(supernet: GPT2Supernet, architecture):
    model: Any = supernet.extract(architecture("uniform"))
    before = torch.random.get_rng_state()
    first, second = (token_reference(model, None, None) for _ in range(2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(first.inputs, second.inputs)
    assert first.inputs.shape == (2, 24)


def test_process_that_does_not_end_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setattr(_verify, "SCRIPT", tmp_path / "slow.py")
    monkeypatch.setattr(_verify, "TIMEOUT_S", 0.5)
    with pytest.raises(ExportError, match=r"took more than 0\.5 seconds"):
        _verify._run(tmp_path / "request.json", tmp_path)
