"""A search from its flags to the finished run folder, whatever the data."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from knotwork_export import Provenance, push_to_hub
from knotwork_ops import Architecture
from knotwork_search import (
    LATENCY,
    Interruption,
    LatencyVerdict,
    Recorder,
    RunFolder,
    Search,
    SearchData,
    SearchResult,
    SearchSettings,
    StepProfile,
    Supernet,
    comparison,
    comparison_table,
    costs,
    front_csv,
    outcome_record,
    write_atomically,
)
from knotwork_search.report import write_report
from rich.console import Console

from knotwork_tasks._accelerator import open_accelerator, start_trackers
from knotwork_tasks._flags import SearchFlags
from knotwork_tasks._latency import LatencyBudget
from knotwork_tasks._task import Task

PACKAGES = (
    "torch", "transformers", "timm", "datasets", "accelerate", "peft", "knotwork-ops", "knotwork-spaces", "knotwork-search",
    "knotwork-export", "knotwork-tasks",
)  # fmt: skip
FlagsT = TypeVar("FlagsT", bound=SearchFlags)


def search(flags: FlagsT, prepare: Callable[[FlagsT, RunFolder, Accelerator], Task]) -> None:
    """Search, export and report as the flags say.

    Args:
        flags: the settings.
        prepare: builds the task: its data and its supernet. Called after the seed is set, with the run's folder, which
            exists only when the run is resumed.

    Raises:
        ValueError, OSError: for what the user can mend.
        ExportError: the exported folder is not the model.
        BudgetError: the found model is measured over its latency budget. The run's folder is complete.
        DivergedError: step after step the loss was not a finite number.
        RunInterrupted: it was asked to stop; what is done is kept.
    """
    run = RunFolder(flags.output_dir)
    if not flags.resume:
        run.check_free()
    elif run.architecture.exists():
        if not run.report.exists():
            write_report(run.path)
        print(f"{run.path} is finished: see {run.report}")
        return
    with Interruption(flags.max_seconds) as stop:
        accelerator = open_accelerator(flags, run)
        task = prepare(flags, run, accelerator)
        settings = search_settings(flags, task.supernet)
        recorder = _recorder(flags, run, task, accelerator)
        limit = settings.limits.get(LATENCY)
        latency = None if limit is None else LatencyBudget(task.supernet, limit, accelerator, recorder)
        searching = _searching(flags, run, task, settings, recorder, stop)
        with recorder:
            result = searching.run()
        rows = comparison(task.supernet, result.architecture, task.validation, accelerator, task.complete)
        recorder.record(flags.max_steps, "validation", rows[0]["metrics"])
        recorder.flush()
        space, verdict = task.supernet.space, None
        record = outcome_record(space.as_dict(), result, settings, rows, PACKAGES)
        if accelerator.is_main_process:
            record["skipped_steps"] = searching.non_finite.total
            if latency is not None:
                verdict = latency.verdict(result.architecture)
                record["latency"] = verdict.as_dict()
            _export(flags, run, task, result.architecture, record)
    if accelerator.is_main_process:
        _finish(flags, run, task, result, record, verdict)
    accelerator.end_training()
    if verdict is not None:
        verdict.require_met()


def _recorder(flags: SearchFlags, run: RunFolder, task: Task, accelerator: Accelerator) -> Recorder:
    items = flags.batch_size * flags.gradient_accumulation * accelerator.num_processes
    units = {"unit": task.unit, "units_per_step": items * task.units_per_item}
    recorder = Recorder(run.metrics, flags.max_steps, accelerator, timed=not flags.deterministic, **units)
    if flags.lora_rank is not None and flags.init_from is None:
        recorder.message("--lora-rank without --init-from: adapters are trained on random weights, which stay as they are")
    return recorder


def _searching(
    flags: SearchFlags, run: RunFolder, task: Task, settings: SearchSettings, recorder: Recorder, stop: Interruption
) -> Search:
    """The search, at its beginning, which is kept, or where the run's newest checkpoint is."""
    accelerator, space = recorder.accelerator, task.supernet.space
    profile = StepProfile(run.path, recorder.message) if flags.profile and accelerator.is_main_process else None
    data = SearchData(task.weight_data, task.architecture_data)
    own: dict[str, Any] = {"accelerator": accelerator, "run": run, "recorder": recorder, "profile": profile, "stop": stop}
    searching = Search(task.supernet, data, settings, storage=flags.storage, shard_weights=flags.shard_weights, **own)
    if flags.resume:
        searching.load()
    else:
        main = accelerator.is_main_process
        with run.create(flags.as_config(), space.as_dict()) if main else nullcontext():
            if main:
                task.packaging.save(run)
            searching.save()
    start_trackers(flags, accelerator)
    return searching


def search_settings(flags: SearchFlags, supernet: Supernet) -> SearchSettings:
    """The settings of a search; its budget may depend on what the supernet's architectures cost."""
    return SearchSettings(
        strategy=flags.strategy,
        strategy_options=flags.strategy_options,
        max_steps=flags.max_steps,
        batch_size=flags.batch_size,
        gradient_accumulation=flags.gradient_accumulation,
        learning_rate=flags.learning_rate,
        arch_learning_rate=flags.arch_learning_rate,
        limits=_limits(flags, supernet),
        candidates=flags.candidates,
        evaluations=flags.evaluations,
        incumbent_every=flags.incumbent_every,
        finetune_steps=flags.finetune_steps,
        pareto=tuple(filter(None, flags.pareto.split(","))),
        checkpoint_every=flags.checkpoint_every,
        seed=flags.seed,
        compile=flags.compile,
    )


def _limits(flags: SearchFlags, supernet: Supernet) -> dict[str, float]:
    given = {"flops": flags.max_flops, LATENCY: flags.max_latency_ms}
    limits = {name: limit for name, limit in given.items() if limit is not None}
    if flags.max_params == "halfway":
        if not limits:
            edges = supernet.space.smallest, supernet.space.largest
            limits["params"] = sum(costs(supernet, edge)["params"] for edge in edges) / 2
    elif flags.max_params != "none":
        limits["params"] = flags.max_params
    return limits


def _export(flags: SearchFlags, run: RunFolder, task: Task, found: Architecture, record: dict[str, Any]) -> None:
    """Export, and add what the exported model says to the record."""
    supernet = task.supernet
    supernet.train(False)
    supernet.to("cpu")
    provenance = Provenance(
        architecture=record["architecture"],
        cost=record["cost"],
        strategy=flags.strategy,
        dataset=flags.dataset,
        metrics=record["comparison"][0]["metrics"],
        settings=flags.as_config(),
        versions=record["versions"],
    )
    if flags.resume and run.model.exists():
        shutil.rmtree(run.model)  # exported just before the run was killed, so perhaps without the rest
    task.packaging.export(supernet, found, run.model, provenance)
    with torch.no_grad():
        record["samples"] = task.samples(supernet.extract(found))


def _finish(
    flags: SearchFlags,
    run: RunFolder,
    task: Task,
    result: SearchResult,
    record: dict[str, Any],
    latency: LatencyVerdict | None,
) -> None:
    """Write the rest of the folder, and tell the person who waits."""
    found = result.architecture
    if result.front:
        write_atomically(run.front, front_csv(result.front, record["front"]["objectives"]))
    run.write_architecture(record)
    write_report(run.path)
    console = Console()
    console.print(comparison_table(record["comparison"], task.labels))
    for sample in record["samples"]:
        console.print(repr(sample), markup=False, highlight=False, soft_wrap=True)
    console.print(f"found: {found}", markup=False, highlight=False)
    if result.front:
        print(f"front: {len(result.front)} of {len(result.evaluated)} architectures: {run.front}")
    if latency is not None:
        print(latency)
    print(f"report: {run.report}\n\n{task.packaging.loading(run.model, found)}")
    # What misses its budget is not published unasked; `apps/export` still can.
    if flags.push_to_hub and (latency is None or latency.met):
        print(push_to_hub(run.model, flags.push_to_hub))
