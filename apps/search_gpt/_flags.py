"""The flags of search_gpt, which are also the keys of its YAML configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from jsonargparse import ArgumentError, ArgumentParser
from knotwork_search import STRATEGIES, RunFolder, SearchSettings
from knotwork_spaces import load_space, preset_names

_DEFAULTS = SearchSettings()
_NOT_REPEATED = ("output_dir", "resume", "push_to_hub")
_CHOICES = {
    "strategy": tuple(STRATEGIES),
    "granularity": (None, "uniform", "per-layer"),
    "mixed_precision": ("no", "bf16", "fp16"),
    "report_to": ("none", "tensorboard", "wandb", "trackio"),
}


@dataclass(frozen=True)
class Flags:
    """Every setting of a run; those that the space's recipe may suggest are filled in."""

    output_dir: str
    space: str
    strategy: str
    dataset: str
    text_column: str
    streaming: bool
    tokenizer: str
    max_steps: int
    batch_size: int
    gradient_accumulation: int
    block_size: int | None
    train_portion: float
    learning_rate: float
    arch_learning_rate: float | None
    max_params: float | Literal["halfway", "none"]
    candidates: int
    granularity: str | None
    finetune_steps: int
    seed: int
    mixed_precision: str
    compile: bool
    resume: bool
    push_to_hub: str | None
    report_to: str

    def as_config(self) -> dict[str, Any]:
        """The settings that repeat the run, for ``--config``."""
        return {name: value for name, value in asdict(self).items() if name not in _NOT_REPEATED}


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="search_gpt",
        description="Search a GPT in one weight-entangled supernet; out comes a model that transformers loads.",
        exit_on_error=False,
    )
    add = parser.add_argument
    add("--config", action="config", help="YAML file of settings; flags given after it win")
    add("--output-dir", type=str, required=True, help="the run's folder")
    add(
        "--space",
        type=str,
        default="gpt-nano",
        help=f"{', '.join(n for n in preset_names() if n.startswith('gpt'))} or a YAML file",
    )
    add("--strategy", type=str, default=_DEFAULTS.strategy, help=", ".join(STRATEGIES))
    add("--dataset", type=str | None, help="Hub name, .txt/.jsonl/.parquet file, folder with train.txt and validation.txt, or "
        "python-stdlib (the default)")  # fmt: skip
    add("--text-column", type=str, default="text", help="the column that holds the text")
    add("--streaming", action="store_true", help="stream a Hub dataset instead of downloading it")
    add("--tokenizer", type=str | None, help="Hub name, local folder, or train:SIZE for a byte-level BPE")
    add("--max-steps", type=int | None, help="weight steps")
    add("--batch-size", type=int | None, help="blocks in a batch, per process")
    add("--gradient-accumulation", type=int, default=1, help="batches summed up for one step")
    add("--block-size", type=int | None, help="tokens in a block; the space's own by default")
    add(
        "--train-portion",
        type=float,
        default=0.8,
        help="share of the training data for the weights; the rest is for the alphas",
    )
    add("--learning-rate", type=float | None, help="peak learning rate of the weights")
    add("--arch-learning-rate", type=float | None, help="of the alphas; by default it scales with the number of steps")
    add("--max-params", type=float | Literal["halfway", "none"], default="halfway", help="hard upper limit of the parameters; "
        "halfway between the smallest and the largest architecture by default; none for no limit")  # fmt: skip
    add("--candidates", type=int, default=_DEFAULTS.candidates, help="length of the shortlist")
    add("--granularity", type=str | None, help="uniform or per-layer; the space's own by default")
    add("--finetune-steps", type=int, default=_DEFAULTS.finetune_steps, help="steps of sliced fine-tuning that each finalist "
        "gets before they are compared; the exported weights stay the supernet's")  # fmt: skip
    add("--seed", type=int, default=0, help="of everything random")
    add("--mixed-precision", type=str, default="no", help="no, bf16 or fp16")
    add("--compile", action="store_true", help="compile the supernet with torch.compile")
    add("--resume", action="store_true", help="go on with the run in the output folder, with its own settings")
    add("--push-to-hub", type=str | None, help="USER/NAME to publish the model as")
    add("--report-to", type=str, default="none", help="none, tensorboard, wandb or trackio")
    return parser


def parse(arguments: Sequence[str] | None) -> Flags:
    """The flags of a command line.

    Raises:
        ValueError: an unknown flag or key, or a value that is not allowed.
    """
    try:
        given = vars(_parser().parse_args(list(arguments) if arguments is not None else None))
    except ArgumentError as error:
        raise ValueError(f"{error}. See --help") from error
    given.pop("config", None)
    if given["resume"]:
        stored = RunFolder(given["output_dir"]).read_config()
        unknown = set(stored) - {field.name for field in fields(Flags)}
        if unknown:
            raise ValueError(f"config.yaml of {given['output_dir']} has the unknown key {sorted(unknown)[0]!r}")
        given |= stored
    recipe = {"dataset": "python-stdlib", "tokenizer": "train:4096", **_recipe(given["space"])}
    for name in ("dataset", "tokenizer", "max_steps", "batch_size", "learning_rate"):
        if given[name] is None:
            given[name] = recipe.get(name, getattr(_DEFAULTS, name, None))
    for name, allowed in _CHOICES.items():
        if given[name] not in allowed:
            raise ValueError(f"unknown {name} {given[name]!r}: known are {[value for value in allowed if value]}")
    return Flags(**given)


def _recipe(space: str) -> dict[str, Any]:
    return dict(load_space(space).recipe)
