"""The language-model task: GPT-2 and Llama spaces on blocks of text, which leave with their tokenizer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from knotwork_export import Provenance, export
from knotwork_ops import Architecture, read_mapping
from knotwork_search import Batch, RunFolder, Supernet, fixed_batches, seeded
from knotwork_spaces import load_pretrained, load_space, space_from_dict
from knotwork_spaces.ordering import ordered
from transformers.utils import logging as transformers_logging

from knotwork_tasks._supernet import built
from knotwork_tasks.text._blocks import bytes_per_token, token_blocks
from knotwork_tasks.text._flags import FAMILIES, TextFlags
from knotwork_tasks.text._network import longest_block
from knotwork_tasks.text._parts import split_blocks
from knotwork_tasks.text._sources import load_text
from knotwork_tasks.text._tokenizer import existing_tokenizer, load_tokenizer

VALIDATION_BATCHES = 64
CALIBRATION_BATCH = 8
CALIBRATION_BATCHES = 16
"""What a checkpoint's units are scored on, before a search."""
SAMPLE_TOKENS = 48


@dataclass
class TextPackaging:
    """A language model leaves with its tokenizer."""

    tokenizer: Any

    def save(self, run: RunFolder) -> None:
        """Keep the tokenizer in the run's folder."""
        self.tokenizer.save_pretrained(run.tokenizer)

    def export(self, supernet: Any, architecture: Architecture, folder: Path, provenance: Provenance) -> Path:
        """Export a subnet, verified against the supernet's own logits."""
        ids = torch.randint(len(self.tokenizer), (2, supernet.space.block_size), generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            logits = supernet.logits(ids, architecture)
        model = supernet.extract(architecture)
        return export(
            model, folder, tokenizer=self.tokenizer, provenance=provenance, reference_ids=ids, reference_logits=logits
        )

    def loading(self, folder: Path, architecture: Architecture) -> str:
        """The lines of Python that load an exported folder."""
        extra = "" if architecture.uniform else ", trust_remote_code=True"
        return (
            "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
            f'model = AutoModelForCausalLM.from_pretrained("{folder}"{extra})'
        )


def load_packaging(run: RunFolder) -> TextPackaging:
    """The packaging that a run's folder holds. Raises ValueError when its tokenizer is missing or damaged."""
    return TextPackaging(existing_tokenizer(str(run.tokenizer)))


@dataclass
class TextTask:
    """A supernet of language models with the two parts of its training text, and its validation text in batches."""

    supernet: Supernet
    weight_data: Any
    architecture_data: Any
    training_data: Any
    validation: Sequence[Batch]
    units_per_item: int
    packaging: TextPackaging
    bytes_per_token: float

    unit = "tokens"
    labels = {  # noqa: RUF012
        "params": "parameters",
        "flops": "FLOPs/token",
        "latency_ms": "ms, predicted",
        "loss": "nats/token",
        "bits_per_byte": "bits/byte",
    }

    def complete(self, metrics: dict[str, float]) -> dict[str, float]:
        """Metrics with bits per byte, which tokenizers of different sizes share."""
        return with_bits_per_byte(metrics, self.bytes_per_token)

    def samples(self, model: Any) -> list[str]:
        """Texts that the model writes from nothing."""
        return generated(model, self.packaging.tokenizer)


def with_bits_per_byte(metrics: dict[str, float], bytes_per_token: float) -> dict[str, float]:
    """Metrics with bits per byte, which tokenizers of different sizes share."""
    return {**metrics, "bits_per_byte": metrics["loss"] / (math.log(2) * bytes_per_token)}


def generated(model: Any, tokenizer: Any, count: int = 3) -> list[str]:
    """Texts that a language model on the CPU writes from nothing; the same at every call."""
    end = tokenizer.eos_token_id
    start = torch.full((count, 1), end)
    length = min(SAMPLE_TOKENS, longest_block(model) or SAMPLE_TOKENS)
    with seeded("samples"):
        tokens = model.generate(
            start, attention_mask=torch.ones_like(start), do_sample=True, max_length=length, pad_token_id=end
        )
    return [text.strip() for text in tokenizer.batch_decode(tokens, skip_special_tokens=True)]


def text_task(flags: TextFlags, run: RunFolder, accelerator: Accelerator) -> TextTask:
    """The task that the flags describe.

    Raises:
        ValueError: a dataset, tokenizer or space that is unknown, empty, or does not fit the others.
    """
    transformers_logging.disable_progress_bar()
    text = load_text(flags.dataset, text_column=flags.text_column, streaming=flags.streaming)
    tokenizer = load_tokenizer(str(run.tokenizer) if flags.resume else flags.tokenizer, text.train)
    space, checkpoint = _space(flags, tokenizer, run)
    blocks = token_blocks(text.train, tokenizer, space.block_size)
    weight, architecture = split_blocks(blocks, flags.train_portion)
    held_out = token_blocks(text.validation, tokenizer, space.block_size)
    if checkpoint is not None and flags.order != "none":
        calibration = fixed_batches(weight, CALIBRATION_BATCH, CALIBRATION_BATCHES, torch.device("cpu"))
        space = ordered(space, checkpoint, flags.order, calibration)
    return TextTask(
        supernet=built(space, checkpoint, flags.lora_rank),
        weight_data=weight,
        architecture_data=architecture,
        training_data=blocks,
        validation=fixed_batches(held_out, flags.batch_size, VALIDATION_BATCHES, accelerator.device),
        units_per_item=space.block_size,
        packaging=TextPackaging(tokenizer),
        bytes_per_token=bytes_per_token(text.validation, tokenizer),
    )


def _space(flags: TextFlags, tokenizer: Any, run: RunFolder) -> tuple[Any, Any]:
    """The search space, and the checkpoint that it is around, if there is one."""
    if flags.resume:
        return space_from_dict(read_mapping(run.space)), None
    definition, checkpoint = load_space(flags.space), None
    if definition.family not in FAMILIES:
        raise ValueError(f"--space {flags.space} is of the family {definition.family!r}: this task searches {list(FAMILIES)}")
    if flags.granularity is not None:
        definition = definition.with_granularity(flags.granularity)
    settings: dict[str, Any] = {} if flags.block_size is None else {"block_size": flags.block_size}
    if flags.init_from is not None:
        definition, checkpoint = load_pretrained(definition, flags.init_from, **settings)
    vocabulary = definition.settings.get("vocab_size", len(tokenizer))
    if vocabulary < len(tokenizer):
        raise ValueError(f"the space's vocab_size {vocabulary} is smaller than the tokenizer's {len(tokenizer)}")
    settings |= {"vocab_size": vocabulary, "eos_token_id": tokenizer.eos_token_id}
    return definition.build(**settings), checkpoint and checkpoint.model
