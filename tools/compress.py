"""What starting from a checkpoint buys: a small GPT is trained, then compressed to half its parameters in several ways.

    uv run python tools/compress.py --output-dir runs/compress

The checkpoint is trained on the default text, and once more in half the steps, to tell what more of them would give. The
first table tells what ordering its units is worth: the loss of smaller nets that inherit its weights, without any training.
The second compares three ways to half the parameters with equal total steps: searched from the checkpoint and trained on, all
widths scaled alike with the inherited prefix, and the searched architecture from scratch. What is finished is kept in the
output folder, so a killed run goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from accelerate import Accelerator
from accelerate.utils import set_seed
from knotwork_ops import Architecture
from knotwork_search import RunFolder, evaluate_alone, train_alone, write_atomically
from knotwork_spaces import family, load_pretrained, space_definition
from knotwork_spaces.ordering import SCORES, ordered
from knotwork_tasks.text import TextTask, parse_text_flags, text_task

ROOT = Path(__file__).parents[1]
SIZES = {"embed_dim": 64, "depth": 4, "num_heads": 4, "mlp_ratio": 4}
SETTINGS = {"family": "gpt2", "block_size": 128, "initializer_range": 0.06}
SHARES = {
    "embed_dim": [0.5, 0.625, 0.75, 0.875, 1.0],
    "depth": [0.5, 0.75, 1.0],
    "num_heads": [1.0],
    "mlp_ratio": [0.25, 0.5, 0.75, 1.0],
}
HALVES = {"width": "embed_dim", "depth": "depth", "hidden units": "mlp_ratio"}


def main() -> None:
    """Run what is missing, then print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--output-dir", type=Path, required=True)
    parser.add_argument("--checkpoint-steps", type=int, default=10000)
    parser.add_argument("--search-steps", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=3000, help="of training what was found")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=1e-2, help="of training from scratch")
    parser.add_argument("--inherited-rate", type=float, default=3e-3, help="of the search and of training inherited weights")
    flags = parser.parse_args()
    flags.output_dir.mkdir(parents=True, exist_ok=True)
    task = _task(flags, {name: [size] for name, size in SIZES.items()})
    checkpoint = flags.output_dir / "checkpoint"
    whole = _checkpoint(task, flags, checkpoint, flags.checkpoint_steps)
    half = _checkpoint(task, flags, flags.output_dir / "checkpoint-half", flags.checkpoint_steps // 2)
    size = _params(task.supernet, task.supernet.space.largest)
    took = f"{whole['steps']:,} steps, {whole['seconds'] / 60:.1f} minutes"
    print(f"Checkpoint: {size:,} parameters, {took}: {whole['loss']:.4f} nats per token; half of them: {half['loss']:.4f}")
    _print_orders(flags, task, checkpoint)
    _print_compressed(flags, task, checkpoint)


def _task(flags: argparse.Namespace, options: dict[str, Any]) -> TextTask:
    """The default text, its tokenizer, and a net of one architecture."""
    file = flags.output_dir / "checkpoint.yaml"
    file.write_text(yaml.safe_dump({**SETTINGS, **options}))
    arguments = ["--space", str(file), "--output-dir", str(flags.output_dir / "plan"), "--tokenizer", "train:512"]
    parsed = parse_text_flags("compress", "", [*arguments, "--batch-size", str(flags.batch_size)])
    return text_task(parsed, RunFolder(parsed.output_dir), Accelerator())


def _once(file: Path, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What the file holds, computed when it is not there."""
    if not file.exists():
        write_atomically(file, json.dumps(compute(), indent=1) + "\n")
        print(f"done: {file.name}", file=sys.stderr, flush=True)
    return json.loads(file.read_text())


def _trained(flags: argparse.Namespace, task: TextTask, model: Any, steps: int, rate: float) -> float:
    """Train a plain model in place; its validation loss in nats per token."""
    accelerator, metrics = Accelerator(), family("gpt2").plain_metrics
    options: dict[str, Any] = {"steps": steps, "batch_size": flags.batch_size, "learning_rate": rate, "seed": 1000}
    train_alone(model, metrics, task.training_data, accelerator, **options)
    return evaluate_alone(model, metrics, task.validation, accelerator)["loss"]


def _checkpoint(task: TextTask, flags: argparse.Namespace, folder: Path, steps: int) -> dict[str, Any]:
    """Train the whole net from scratch and keep it; how long for, and its loss."""

    def train() -> dict[str, Any]:
        set_seed(0)
        space: Any = task.supernet.space
        model = family("gpt2").plain_model(space, space.largest)
        started = time.perf_counter()
        loss = _trained(flags, task, model, steps, flags.learning_rate)
        seconds = time.perf_counter() - started
        model.save_pretrained(folder)
        task.packaging.tokenizer.save_pretrained(folder)
        return {"steps": steps, "loss": loss, "seconds": seconds}

    return _once(folder.with_suffix(".json"), train)


def _ordered(checkpoint: Path, score: str, options: dict[str, Any], task: TextTask) -> tuple[Any, Any]:
    """A supernet around the checkpoint, its units ordered, and its space."""
    definition, pretrained = load_pretrained(space_definition({"family": "gpt2", **options}), str(checkpoint))
    space: Any = definition.build()
    if score != "none":
        items = [task.weight_data[i * len(task.weight_data) // 128] for i in range(128)]
        ids = torch.stack([torch.as_tensor(item["input_ids"]) for item in items])
        space = ordered(space, pretrained.model, score, [{"input_ids": part} for part in ids.split(8)])
    return space, family("gpt2").supernet(space, pretrained.model).eval()


def _print_orders(flags: argparse.Namespace, task: TextTask, checkpoint: Path) -> None:
    def losses(score: str) -> dict[str, Any]:
        space, supernet = _ordered(checkpoint, score, SHARES, task)
        whole = space.largest.as_dict()
        half = {name: max(o for o in space[name].options if o <= whole[name] / 2) for name in HALVES.values()}
        nets = {what: space.architecture({**whole, name: half[name]}) for what, name in HALVES.items()}
        # Half of the parameters: the widths and the depth between.
        nets["all, to half the parameters"] = _fitting(space, supernet)
        return {what: _loss(supernet, arch, task) for what, arch in nets.items()}

    rows = {score: _once(flags.output_dir / f"order-{score}.json", lambda s=score: losses(s)) for score in ("none", *SCORES)}
    print("\nValidation loss of smaller nets with inherited weights, not trained; nats per token\n")
    columns = list(rows["none"])
    print(f"| order | {' | '.join(f'half: {c}' if c in HALVES else c for c in columns)} |\n|{' --- |' * (len(columns) + 1)}")
    for score, found in rows.items():
        print(f"| {score} | {' | '.join(f'{found[c]:.3f}' for c in columns)} |")


@torch.no_grad()
def _loss(supernet: Any, arch: Architecture, task: TextTask) -> float:
    return sum(float(supernet.loss(batch, arch)) for batch in task.validation) / len(task.validation)


def _params(supernet: Any, arch: Architecture) -> int:
    return int(supernet.cost(arch)["params"])


def _fitting(space: Any, supernet: Any) -> Architecture:
    """A net of half the parameters whose depth and hidden units are three quarters, as wide as that allows."""
    whole = space.largest.as_dict()
    limit = _params(supernet, space.largest) / 2
    wide = [
        space.architecture(
            {**whole, "depth": space["depth"].options[1], "mlp_ratio": space["mlp_ratio"].options[2], "embed_dim": e}
        )
        for e in space["embed_dim"].options
    ]
    return max((a for a in wide if _params(supernet, a) <= limit), key=lambda a: a["embed_dim"])


def _print_compressed(flags: argparse.Namespace, task: TextTask, checkpoint: Path) -> None:
    total = flags.search_steps + flags.steps
    found = _searched(flags, checkpoint, _params(task.supernet, task.supernet.space.largest) / 2)

    def finish(model: Any, steps: int, rate: float) -> dict[str, Any]:
        set_seed(1)
        before = evaluate_alone(model, family("gpt2").plain_metrics, task.validation, Accelerator())["loss"]
        size = sum(parameter.numel() for parameter in model.parameters())
        return {"params": size, "before": before, "loss": _trained(flags, task, model, steps, rate)}

    def searched() -> dict[str, Any]:
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(found / "model", use_safetensors=True)
        return finish(model, flags.steps, flags.inherited_rate)

    def scaled(score: str) -> dict[str, Any]:
        space, supernet = _scaled(checkpoint, score, task)
        return finish(supernet.extract(space.smallest), total, flags.inherited_rate)

    def scratch() -> dict[str, Any]:
        from transformers import AutoConfig, AutoModelForCausalLM

        set_seed(1)
        return finish(AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(found / "model")), total, flags.learning_rate)

    ways: dict[str, tuple[str, int, Callable[[], dict[str, Any]]]] = {
        "(a) searched from the checkpoint": ("searched", flags.steps, searched),
        "(b) all widths scaled, inherited prefix": ("scaled", total, lambda: scaled("none")),
        "(b') the same, units ordered": ("scaled-ordered", total, lambda: scaled("activation")),
        "(c) the architecture of (a) from scratch": ("scratch", total, scratch),
    }
    record = json.loads((found / "architecture.json").read_text())
    print(f"\n(a) found: {record['architecture']}, in {flags.search_steps:,} steps\n")
    print("| way | parameters | steps of training | loss before them | loss after them |\n| --- | --- | --- | --- | --- |")
    for way, (name, steps, compute) in ways.items():
        got = _once(flags.output_dir / f"{name}.json", compute)
        print(f"| {way} | {got['params']:,} | {steps:,} | {got['before']:.4f} | {got['loss']:.4f} |", flush=True)


def _scaled(checkpoint: Path, score: str, task: TextTask) -> tuple[Any, Any]:
    """A space of the checkpoint and of the widest net of half its parameters that keeps depth, heads and MLP ratio."""
    limit = _params(task.supernet, task.supernet.space.largest) / 2
    for width in range(SIZES["embed_dim"] - SIZES["num_heads"], 0, -SIZES["num_heads"]):
        options = {name: [size] for name, size in SIZES.items()} | {"embed_dim": [width, SIZES["embed_dim"]]}
        space, supernet = _ordered(checkpoint, "none", options, task)
        if _params(supernet, space.smallest) <= limit:
            return _ordered(checkpoint, score, options, task)
    raise ValueError("no width gives half the parameters")


def _searched(flags: argparse.Namespace, checkpoint: Path, limit: float) -> Path:
    """The finished folder of a search from the checkpoint."""
    run, space = flags.output_dir / "search", flags.output_dir / "search.yaml"
    space.write_text(yaml.safe_dump({"family": "gpt2", **SHARES}))
    if not (run / "architecture.json").exists():
        command = [sys.executable, str(ROOT / "apps/search_gpt"), "--output-dir", str(run)]
        if (run / "config.yaml").exists():
            command += ["--resume"]
        else:
            given = {"space": space, "init-from": checkpoint, "max-params": limit, "max-steps": flags.search_steps}
            given |= {"learning-rate": flags.inherited_rate, "batch-size": flags.batch_size, "finetune-steps": 0}
            command += [word for name, value in given.items() for word in (f"--{name}", str(value))]
        subprocess.run(command, check=True)
    return run


if __name__ == "__main__":
    main()
