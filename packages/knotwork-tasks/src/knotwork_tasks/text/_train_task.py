"""Training a language model: a folder of transformers or a GPT-2 of a search space, on blocks of text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from knotwork_export import Provenance, export
from knotwork_search import Batch, RunFolder, fixed_batches, seeded
from torch import Tensor
from transformers.utils import logging as transformers_logging

from knotwork_tasks.text._blocks import bytes_per_token, token_blocks
from knotwork_tasks.text._flags import FAMILIES
from knotwork_tasks.text._network import load_language_model, longest_block
from knotwork_tasks.text._sources import load_text
from knotwork_tasks.text._task import VALIDATION_BATCHES, TextTask, generated, with_bits_per_byte
from knotwork_tasks.text._tokenizer import existing_tokenizer, load_tokenizer
from knotwork_tasks.text._train_flags import TextTrainFlags
from knotwork_tasks.training import ArchitectureFile, Start, Teacher
from knotwork_tasks.training._flags import INHERIT
from knotwork_tasks.training._start import require_model_folder

LONGEST_DEFAULT_BLOCK = 1024


@dataclass
class TextTraining:
    """A language model with its tokenizer, its text in blocks, and its teacher; see ``TrainingTask``."""

    model: Any
    tokenizer: Any
    teacher: Teacher | None
    training_data: Any
    validation: Sequence[Batch]
    units_per_item: int
    bytes_per_token: float

    unit = "tokens"
    labels = TextTask.labels

    def predictions(self, model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits (tokens, vocabulary) of every next token, and these tokens."""
        return next_token_logits(model, batch), batch["input_ids"][:, 1:].flatten()

    def metrics(self, model: Any, batch: Batch) -> dict[str, Tensor]:
        """The mean next-token cross-entropy in nats."""
        logits, targets = self.predictions(model, batch)
        return {"loss": torch.nn.functional.cross_entropy(logits, targets)}

    def complete(self, metrics: dict[str, float]) -> dict[str, float]:
        """Metrics with bits per byte."""
        return with_bits_per_byte(metrics, self.bytes_per_token)

    def save(self, run: RunFolder) -> None:
        """Keep the tokenizer."""
        self.tokenizer.save_pretrained(run.tokenizer)

    def export(
        self, folder: Path, provenance: Provenance | None = None, previous_card: str | None = None, *, verify: bool = True
    ) -> Path:
        """Write model and tokenizer."""
        given: dict[str, Any] = {"provenance": provenance, "previous_card": previous_card, "verify": verify}
        return export(self.model, folder, tokenizer=self.tokenizer, **given)

    def samples(self) -> list[str]:
        """Texts that the model writes from nothing."""
        return generated(self.model, self.tokenizer)

    def loading(self, folder: Path) -> str:
        """The lines of Python that load the folder."""
        extra = ", trust_remote_code=True" if any(folder.glob("*.py")) else ""
        return (
            "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
            f'model = AutoModelForCausalLM.from_pretrained("{folder}"{extra})'
        )


def next_token_logits(model: Any, batch: Batch) -> Tensor:
    """(batch x (tokens - 1), vocabulary)."""
    return model(input_ids=batch["input_ids"][:, :-1]).logits.flatten(0, 1)


def text_training(flags: TextTrainFlags, start: Start, run: RunFolder, accelerator: Accelerator) -> TextTraining:
    """The training that the flags describe.

    Raises:
        ValueError: a model, dataset, tokenizer or teacher that cannot be read or does not fit the others.
    """
    transformers_logging.disable_progress_bar()
    with seeded("initial weights", flags.seed):
        model = _model(flags, start)
    text = load_text(flags.dataset, text_column=flags.text_column, streaming=bool(flags.streaming))
    tokenizer = load_tokenizer(_tokenizer_name(flags, start, run), text.train)
    if len(tokenizer) > model.config.vocab_size:
        raise ValueError(
            f"the tokenizer has {len(tokenizer)} tokens, but the model's vocabulary {model.config.vocab_size}: "
            "give the tokenizer that the model was made for"
        )
    block_size = _block_size(flags, model)
    blocks = token_blocks(text.train, tokenizer, block_size)
    held_out = token_blocks(text.validation, tokenizer, block_size)
    return TextTraining(
        model=model,
        tokenizer=tokenizer,
        teacher=None if flags.teacher is None else _teacher(flags, model, tokenizer, block_size, accelerator),
        training_data=blocks,
        validation=fixed_batches(held_out, flags.batch_size, VALIDATION_BATCHES, accelerator.device),
        units_per_item=block_size,
        bytes_per_token=bytes_per_token(text.validation, tokenizer),
    )


def _model(flags: TextTrainFlags, start: Start) -> Any:
    if isinstance(start, ArchitectureFile):
        if start.space.family not in FAMILIES:
            raise ValueError(f"{start.path} is of the family {start.space.family!r}: text is learnt by {list(FAMILIES)}")
        return start.model(flags.init)
    weights = flags.init == INHERIT
    return load_language_model(start.path, weights=weights, trust_remote_code=flags.trust_remote_code)


def _tokenizer_name(flags: TextTrainFlags, start: Start, run: RunFolder) -> str:
    """The tokenizer to use: what a resumed training kept, what was named, what lies with the model or its run."""
    if flags.resume:
        return str(run.tokenizer)
    if flags.tokenizer is not None:
        return flags.tokenizer
    if not isinstance(start, ArchitectureFile):
        return str(start.path)
    if start.run.tokenizer.is_dir():
        return str(start.run.tokenizer)
    raise ValueError(f"no tokenizer lies beside {start.path}: name one with --tokenizer")


def _block_size(flags: TextTrainFlags, model: Any) -> int:
    longest = longest_block(model)
    if flags.block_size is None:
        return min(longest or LONGEST_DEFAULT_BLOCK, LONGEST_DEFAULT_BLOCK)
    if longest is not None and flags.block_size > longest:
        raise ValueError(f"--block-size is {flags.block_size}: the model takes {longest} tokens at most")
    return flags.block_size


def _teacher(flags: TextTrainFlags, model: Any, tokenizer: Any, block_size: int, accelerator: Accelerator) -> Teacher:
    """A language model that predicts the same tokens, in eval mode.

    Raises:
        ValueError: it cannot be loaded, or has another vocabulary, another tokenizer or too few positions.
    """
    folder = require_model_folder(Path(str(flags.teacher)).expanduser(), "--teacher")
    teacher = load_language_model(folder, trust_remote_code=flags.trust_remote_code)
    if teacher.config.vocab_size != model.config.vocab_size:
        raise ValueError(
            f"the teacher's vocabulary has {teacher.config.vocab_size} tokens, the model's {model.config.vocab_size}: "
            "both must predict the same tokens"
        )
    if (folder / "tokenizer.json").exists() and _content(existing_tokenizer(str(folder))) != _content(tokenizer):
        raise ValueError(
            f"the tokenizer of the teacher {folder} is another than the model's: both must predict the same tokens"
        )
    longest = longest_block(teacher)
    if longest is not None and longest < block_size:
        raise ValueError(f"the teacher takes {longest} tokens at most: give --block-size {longest}")
    teacher.to(accelerator.device).eval().requires_grad_(False)
    return lambda batch: next_token_logits(teacher, batch)


def _content(tokenizer: Any) -> dict[str, Any]:
    """What a tokenizer does to a text; how batches are padded or cut is no part of it."""
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    return {name: value for name, value in content.items() if name not in ("padding", "truncation")}
