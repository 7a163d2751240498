"""Search a GPT: `uv run apps/search_gpt --output-dir runs/first`. Parses, composes the packages, reports."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import torch
from _flags import Flags, parse
from accelerate import Accelerator
from accelerate.utils import set_seed
from knotwork_export import ExportError, Provenance, export, push_to_hub
from knotwork_ops import Architecture
from knotwork_search import (
    Recorder,
    RunFolder,
    Search,
    SearchData,
    SearchSettings,
    Supernet,
    comparison,
    comparison_table,
    costs,
    fixed_batches,
    outcome_record,
    seeded,
)
from knotwork_search.report import write_report
from knotwork_search.text import bytes_per_token, load_text, load_tokenizer, split_blocks, token_blocks
from knotwork_spaces import family, load_space
from rich.console import Console
from transformers.utils import logging as transformers_logging

PACKAGES = ("torch", "transformers", "datasets", "accelerate", "knotwork-ops", "knotwork-spaces", "knotwork-search")
LABELS = {"params": "parameters", "flops": "FLOPs/token", "loss": "nats/token", "bits_per_byte": "bits/byte"}
VALIDATION_BATCHES = 64


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the app. Returns its exit code: 0, 1 for an export that fails its verification, 2 for bad input."""
    try:
        search_gpt(parse(arguments))
    except ExportError as error:
        return _fail(error, 1)
    except (ValueError, OSError) as error:
        return _fail(error, 2)
    except KeyboardInterrupt:
        return _fail("interrupted: give --resume to go on from the last checkpoint", 130)
    return 0


def search_gpt(flags: Flags) -> None:
    """Search, export and report as the flags say. Raises ValueError or OSError for what the user can mend."""
    run = RunFolder(flags.output_dir)
    if not flags.resume:
        run.check_free()
    elif run.architecture.exists():
        print(f"{run.path} is finished: see {run.report}")
        return
    transformers_logging.disable_progress_bar()
    accelerator = _accelerator(flags, run)
    set_seed(flags.seed)
    text = load_text(flags.dataset, text_column=flags.text_column, streaming=flags.streaming)
    tokenizer = load_tokenizer(str(run.tokenizer) if flags.resume else flags.tokenizer, text.train)
    space = _space(flags, tokenizer)
    supernet = family("gpt2")[1](space)
    settings = _settings(flags, supernet)
    weight, architecture = split_blocks(token_blocks(text.train, tokenizer, space.block_size), flags.train_portion)
    validation_blocks = token_blocks(text.validation, tokenizer, space.block_size)
    validation = fixed_batches(validation_blocks, flags.batch_size, VALIDATION_BATCHES, accelerator.device)
    recorder = Recorder(
        run.metrics, flags.max_steps, accelerator, unit="tokens", units_per_step=_tokens_per_step(flags, space, accelerator)
    )
    search = Search(supernet, SearchData(weight, architecture), settings, accelerator=accelerator, run=run, recorder=recorder)
    if flags.resume:
        search.load()
    elif accelerator.is_main_process:
        run.create(flags.as_config(), space.as_dict())
        tokenizer.save_pretrained(run.tokenizer)
    with recorder:
        result = search.run()
    ratio = math.log(2) * bytes_per_token(text.validation, tokenizer)
    rows = comparison(
        supernet, result.architecture, validation, accelerator, lambda m: {**m, "bits_per_byte": m["loss"] / ratio}
    )
    recorder.record(flags.max_steps, "validation", rows[0]["metrics"])
    recorder.flush()
    if accelerator.is_main_process:
        record = outcome_record(space.as_dict(), result, settings, rows, PACKAGES)
        _finish(flags, run, supernet, tokenizer, result.architecture, record)
    accelerator.end_training()


def _settings(flags: Flags, supernet: Supernet) -> SearchSettings:
    limit = flags.max_params
    if limit == "halfway":
        limit = sum(costs(supernet, edge)["params"] for edge in (supernet.space.smallest, supernet.space.largest)) / 2
    return SearchSettings(
        strategy=flags.strategy,
        max_steps=flags.max_steps,
        batch_size=flags.batch_size,
        gradient_accumulation=flags.gradient_accumulation,
        learning_rate=flags.learning_rate,
        arch_learning_rate=flags.arch_learning_rate,
        limits={} if limit == "none" else {"params": limit},
        candidates=flags.candidates,
        finetune_steps=flags.finetune_steps,
        seed=flags.seed,
        compile=flags.compile,
    )


def _accelerator(flags: Flags, run: RunFolder) -> Accelerator:
    trackers = None if flags.report_to == "none" else flags.report_to
    if trackers and find_spec(trackers) is None:
        raise ValueError(f"--report-to {trackers} needs the package {trackers}, which is not installed")
    accelerator = Accelerator(mixed_precision=flags.mixed_precision, log_with=trackers, project_dir=str(run.path))
    if trackers:
        accelerator.init_trackers("knotwork", config={k: v for k, v in flags.as_config().items() if v is not None})
    return accelerator


def _space(flags: Flags, tokenizer: Any) -> Any:
    definition = load_space(flags.space)
    if definition.family != "gpt2":
        raise ValueError(f"--space {flags.space} is of the family {definition.family!r}: this app searches gpt2 spaces")
    if flags.granularity is not None:
        definition = definition.with_granularity(flags.granularity)
    vocabulary = definition.settings.get("vocab_size", len(tokenizer))
    if vocabulary < len(tokenizer):
        raise ValueError(f"the space's vocab_size {vocabulary} is smaller than the tokenizer's {len(tokenizer)}")
    settings: dict[str, Any] = {"vocab_size": vocabulary, "eos_token_id": tokenizer.eos_token_id}
    if flags.block_size is not None:
        settings["block_size"] = flags.block_size
    return definition.build(**settings)


def _tokens_per_step(flags: Flags, space: Any, accelerator: Accelerator) -> int:
    return flags.batch_size * flags.gradient_accumulation * space.block_size * accelerator.num_processes


def _finish(flags: Flags, run: RunFolder, supernet: Any, tokenizer: Any, found: Architecture, record: dict[str, Any]) -> None:
    model = supernet.extract(found).eval().cpu()
    provenance = Provenance(
        architecture=record["architecture"],
        cost=record["cost"],
        strategy=flags.strategy,
        dataset=flags.dataset,
        metrics=record["comparison"][0]["metrics"],
        settings=flags.as_config(),
        versions=record["versions"],
    )
    ids = torch.randint(len(tokenizer), (2, supernet.space.block_size), generator=torch.Generator().manual_seed(0))
    supernet.train(False)
    with torch.no_grad():
        logits = supernet.cpu().logits(ids, found)
    if flags.resume and run.model.exists():
        shutil.rmtree(run.model)  # exported just before the run was killed, so perhaps without the rest
    export(model, run.model, tokenizer=tokenizer, provenance=provenance, reference_ids=ids, reference_logits=logits)
    record["samples"] = _samples(model, tokenizer)
    run.write_architecture(record)
    write_report(run.path)
    console = Console()
    console.print(comparison_table(record["comparison"], LABELS))
    for sample in record["samples"]:
        console.print(repr(sample), markup=False, highlight=False, soft_wrap=True)
    console.print(f"found: {found}", markup=False, highlight=False)
    extra = "" if found.uniform else ", trust_remote_code=True"
    print(f"report: {run.report}\n\nfrom transformers import AutoModelForCausalLM, AutoTokenizer")
    print(f'model = AutoModelForCausalLM.from_pretrained("{run.model}"{extra})')
    if flags.push_to_hub:
        print(push_to_hub(run.model, flags.push_to_hub))


def _samples(model: Any, tokenizer: Any, count: int = 3) -> list[str]:
    start = torch.full((count, 1), tokenizer.eos_token_id)
    length = min(48, model.config.n_positions)
    with seeded("samples"):
        tokens = model.generate(
            start, attention_mask=torch.ones_like(start), do_sample=True, max_length=length, pad_token_id=tokenizer.eos_token_id
        )
    return [text.strip() for text in tokenizer.batch_decode(tokens, skip_special_tokens=True)]


def _fail(error: object, code: int) -> int:
    print(f"search_gpt: error: {' '.join(str(error).split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
