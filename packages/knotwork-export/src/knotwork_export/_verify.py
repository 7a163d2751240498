"""Prove that an exported folder is the model: load it in a fresh process without knotwork, and compare."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load, save_file
from torch import Tensor, nn

from knotwork_export._causal_lm import CausalLM
from knotwork_export._classifier import Classifier
from knotwork_export._errors import ExportError
from knotwork_export._exportable import Exportable

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SCRIPT = Path(__file__).with_name("_load_alone.py")
TIMEOUT_S = 600
# Against the supernet, which sums in another order: relative to the largest logit, for the coarser of both precisions.
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 5e-2}
# Set anew for the fresh process, so that neither the user's cache, settings nor token reach it.
OWN_SETTINGS = ("HF_", "HUGGING", "TRANSFORMERS_", "TIMM_", "PYTHON")
LOGITS = "logits."


def verify_export(
    folder: Path,
    model: nn.Module,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    reference_ids: Tensor | None = None,
    reference_logits: Tensor | None = None,
) -> None:
    """Load an exported language model in a fresh process that cannot import knotwork, and compare what it computes.

    The logits must equal the model's, computed here on the CPU in its own precision with as many threads, bit for bit. They
    must equal ``reference_logits`` within a tolerance of 1e-5 in float32, relative to the largest logit (or to one).

    A folder's own code runs in that process: verify what you exported, not what came from elsewhere.

    Args:
        folder: what ``export`` wrote.
        model: the model it was written from.
        tokenizer: the tokenizer it was written with; its token ids of a probe text must be equal.
        reference_ids: (batch, tokens), fixed random ids by default.
        reference_logits: (batch, tokens, vocabulary), what the supernet computes for them.

    Raises:
        ExportError: the folder does not load, or computes something else; the message holds the largest difference.
        ValueError: a model that is no transformers language model, or a reference that does not fit it.
    """
    compare(Path(folder), CausalLM.of(model, tokenizer, reference_ids, reference_logits))


def verify_classifier(
    folder: Path, model: nn.Module, *, reference_images: Tensor | None = None, reference_logits: Tensor | None = None
) -> None:
    """Load an exported image classifier in a fresh process that cannot import knotwork, and compare what it computes.

    It is loaded with timm and, where that is installed, with transformers. Logits are compared as ``verify_export`` does; both
    libraries must prepare images as the folder's configuration says.

    A folder's own code runs in that process: verify what you exported, not what came from elsewhere.

    Args:
        folder: what ``export_classifier`` wrote.
        model: the model it was written from.
        reference_images: (batch, channels, height, width), fixed random images by default.
        reference_logits: (batch, classes), what the supernet computes for them.

    Raises:
        ExportError: the folder does not load, or computes something else; the message holds the largest difference.
        ValueError: a model that is no timm ViT, a folder that describes another, or a reference that does not fit.
    """
    compare(Path(folder), Classifier.at(Path(folder), model, reference_images, reference_logits))


def compare(folder: Path, model: Exportable) -> None:
    """Load the folder alone, and compare it with the model and its reference.

    Raises:
        ExportError: the folder does not load, or computes something else; the message holds the largest difference.
    """
    results = _load_alone(folder, model)
    # The caller may be inside autocast, and may allow coarser products; the fresh process does neither.
    with torch.inference_mode(), torch.autocast("cpu", enabled=False), _exact_products():
        expected = model.logits()
    if not expected.isfinite().all():
        raise ExportError("the model's logits are not finite: its weights have diverged, so there is nothing worth exporting")
    loaded = {name.removeprefix(LOGITS): logits for name, logits in results.items() if name.startswith(LOGITS)}
    for library, logits in loaded.items():
        _compare_to_model(library, logits, expected)
    if model.reference.logits is not None:
        _compare_to_supernet(expected, model.reference.logits)
    model.check(results)


def _compare_to_model(library: str, loaded: Tensor, expected: Tensor) -> None:
    if loaded.dtype != expected.dtype or loaded.shape != expected.shape:
        raise ExportError(
            f"the exported model, loaded with {library}, gives {loaded.dtype} logits {tuple(loaded.shape)}, "
            f"but the model {expected.dtype} {tuple(expected.shape)}"
        )
    if not torch.equal(loaded, expected):
        difference = _difference(loaded, expected)
        raise ExportError(
            f"the exported model's logits, loaded with {library}, differ from the model's by up to {difference:.3g}: "
            "they must be equal bit for bit"
        )


def _compare_to_supernet(computed: Tensor, reference: Tensor) -> None:
    tolerance = max(TOLERANCE.get(dtype, 1e-5) for dtype in (computed.dtype, reference.dtype))
    allowed = tolerance * max(reference.double().abs().amax().item(), 1.0)
    difference = _difference(computed, reference)
    if not difference <= allowed:  # written so that NaN fails
        raise ExportError(
            f"the exported model's logits differ from reference_logits by up to {difference:.3g}, allowed {allowed:.3g}: "
            "either they are another architecture's, or they were not computed in eval mode in the model's precision"
        )


def _difference(a: Tensor, b: Tensor) -> float:
    return (a.double() - b.double()).abs().amax().item()


@contextmanager
def _exact_products() -> Iterator[None]:
    try:
        precision = torch.get_float32_matmul_precision()
    except RuntimeError:  # set by backend, which torch then refuses to tell as one word
        precision = "highest"
    if precision == "highest":
        yield
        return
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(precision)


def _load_alone(folder: Path, model: Exportable) -> dict[str, Tensor]:
    """What the fresh process computed: ``logits.LIBRARY`` for every library, and what ``model.check`` compares."""
    with tempfile.TemporaryDirectory(prefix="knotwork-verify-") as name:
        room = Path(name).resolve()  # macOS reaches its temporary folder through a link
        given, output, request = room / "inputs.safetensors", room / "results.safetensors", room / "request.json"
        save_file({"inputs": model.reference.inputs.contiguous()}, given)
        settings = {
            **model.request(folder),
            "folder": str(folder.resolve()),
            "threads": torch.get_num_threads(),
            "input": str(given),
            "output": str(output),
        }
        request.write_text(json.dumps(settings), encoding="utf-8")
        done = _run(request, room)
        if done.returncode != 0 or not output.exists():
            raise ExportError(
                f"the exported folder does not load in a process without knotwork (exit status {done.returncode}):\n"
                + "\n".join(done.stderr.decode(errors="replace").strip().splitlines()[-20:])
            )
        # Read whole, since the file goes with the room.
        return load(output.read_bytes())


def _run(request: Path, room: Path) -> subprocess.CompletedProcess[bytes]:
    # -I: neither the current folder, PYTHONPATH nor the user's packages reach the process.
    # -B: importing the folder's code leaves no bytecode in it.
    command = [sys.executable, "-I", "-B", str(SCRIPT), str(request)]
    try:
        return subprocess.run(
            command, cwd=room, env=_environment(room), stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S
        )
    except subprocess.TimeoutExpired as error:
        raise ExportError(f"loading the exported folder alone took more than {TIMEOUT_S} seconds") from error


def _environment(room: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OWN_SETTINGS)}
    return kept | {
        "HF_HOME": str(room / "home"),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_MODULES_CACHE": str(room / "modules"),
        "TOKENIZERS_PARALLELISM": "false",
        "CUDA_VISIBLE_DEVICES": "",
    }
