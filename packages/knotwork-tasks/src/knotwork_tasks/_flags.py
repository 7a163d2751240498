"""The flags that every search shares, which are also the keys of its YAML configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeVar

from jsonargparse import ArgumentParser
from knotwork_search import STRATEGIES, SearchSettings
from knotwork_spaces import load_space, presets_of
from knotwork_spaces.ordering import SCORES

from knotwork_tasks._parsing import check_choices, parse, resumed
from knotwork_tasks._run_flags import RunFlags, add_run_flags

_DEFAULTS = SearchSettings()
_NOT_REPEATED = ("output_dir", "resume", "push_to_hub", "profile", "storage", "max_time", "shard_weights")
_CHOICES: dict[str, tuple[str | None, ...]] = {
    "strategy": tuple(STRATEGIES),
    "granularity": (None, "uniform", "per-layer"),
    "mixed_precision": ("no", "bf16", "fp16"),
    "order": ("none", *SCORES),
    "report_to": ("none", "tensorboard", "wandb", "trackio"),
}


@dataclass(frozen=True, kw_only=True)
class SearchFlags(RunFlags):
    """Every setting of a run that does not depend on the kind of data; what the space's recipe suggests is filled in.

    A task adds its own flags in a subclass.
    """

    output_dir: str
    space: str
    strategy: str
    dataset: str
    max_steps: int
    batch_size: int
    gradient_accumulation: int
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
    profile: bool = False
    shard_weights: bool = False
    max_flops: float | None = None
    max_latency_ms: float | None = None
    strategy_options: dict[str, float] = field(default_factory=dict)
    evaluations: int = _DEFAULTS.evaluations
    lora_rank: int | None = None
    pareto: str = ""
    incumbent_every: int = 0
    storage: str | None = None
    init_from: str | None = None
    order: str = "activation"
    resume: bool
    push_to_hub: str | None
    report_to: str

    def as_config(self) -> dict[str, Any]:
        """The settings that repeat the run, for ``--config``."""
        return {name: value for name, value in asdict(self).items() if name not in _NOT_REPEATED}


def search_parser(program: str, description: str, families: Sequence[str], default_space: str, datasets: str) -> ArgumentParser:
    """A parser with the shared flags, to which a task adds its own.

    Args:
        program: the app's name.
        description: one line for ``--help``.
        families: the families of networks whose presets ``--help`` lists.
        default_space: the preset searched when none is named.
        datasets: what ``--dataset`` takes.
    """
    parser = ArgumentParser(prog=program, description=description, exit_on_error=False)
    add = parser.add_argument
    add("--config", action="config", help="YAML file of settings; flags given after it win")
    add("--output-dir", type=str, required=True, help="the run's folder")
    presets = [preset for family in families for preset in presets_of(family)]
    add("--space", type=str | None, help=f"{', '.join(presets)} or a YAML file; {default_space} by default")
    _add_checkpoint_flags(parser)
    add("--strategy", type=str, default=_DEFAULTS.strategy, help=", ".join(STRATEGIES))
    add("--strategy-options", type=dict[str, float], default={}, help="what else the strategy takes: {distance: 0.001, "
        "shrink: 2} of drnas, {entropy: 0.1} of darts, {tau_start: 10, tau_end: 0.1} of gdas")  # fmt: skip
    add("--dataset", type=str | None, help=datasets)
    add("--max-steps", type=int | None, help="weight steps")
    add("--batch-size", type=int | None, help="items in a batch, per process")
    add("--gradient-accumulation", type=int, default=1, help="batches summed up for one step")
    portion = "share of the training data for the weights; the rest is for the alphas"
    add("--train-portion", type=float, default=0.8, help=portion)
    add("--learning-rate", type=float | None, help="peak learning rate of the weights")
    add("--arch-learning-rate", type=float | None, help="of the alphas; by default it scales with the number of steps")
    add("--max-params", type=float | Literal["halfway", "none"], default="halfway", help="hard upper limit of the parameters; "
        "halfway between the smallest and the largest architecture by default; none for no limit")  # fmt: skip
    add("--max-flops", type=float | None, help="hard upper limit of a forward pass' FLOPs, per token or image; without "
        "--max-params it is the only limit")  # fmt: skip
    add("--max-latency-ms", type=float | None, help="hard upper limit of the milliseconds that the plain model takes on this "
        "device for a batch of one at full size, eager, without gradients; blocks are timed first, in at most two minutes "
        "for a small space, and the found model again at the end; without --max-params it is the only limit")  # fmt: skip
    add("--candidates", type=int, default=_DEFAULTS.candidates, help="length of the shortlist")
    add("--evaluations", type=int, default=_DEFAULTS.evaluations, help="architectures that the second stage of a two-stage "
        "strategy evaluates")  # fmt: skip
    add("--incumbent-every", type=int, default=0, help="steps between two records, in metrics.jsonl, of the architecture that "
        "would be returned now; 0 for none")  # fmt: skip
    add("--pareto", type=str, default="", help="look for the front of these as well: loss and one or two of params, flops and "
        "latency_ms, separated by commas; apps/export --point exports one")  # fmt: skip
    add("--storage", type=str | None, help="URL of the database that keeps the study of evolution or NSGA-II, for several "
        "machines; SQLite in the run's folder by default")  # fmt: skip
    add("--granularity", type=str | None, help="uniform or per-layer; the space's own by default")
    add("--finetune-steps", type=int, default=_DEFAULTS.finetune_steps, help="steps of sliced fine-tuning that each finalist "
        "gets before they are compared; the exported weights stay the supernet's")  # fmt: skip
    add("--seed", type=int, default=0, help="of everything random")
    add("--mixed-precision", type=str, default="no", help="no, bf16 or fp16")
    add("--compile", action="store_true", help="compile what a mixture of the supernet runs, with torch.compile")
    add("--shard-weights", action="store_true", help="share the weights out over the processes, in place of copies (FSDP2)")
    add("--profile", action="store_true", help="trace some steps with torch's profiler, and say where their time goes")
    add_run_flags(parser)
    add("--resume", action="store_true", help="go on with the run in the output folder, with its own settings")
    add("--push-to-hub", type=str | None, help="USER/NAME to publish the model as")
    add("--report-to", type=str, default="none", help="none, tensorboard, wandb or trackio")
    return parser


def _add_checkpoint_flags(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("--init-from", type=str | None, help="checkpoint to start from, a folder or a name on the Hub: the largest "
        "architecture, of which the space may give shares; FAMILY-pretrained is then the default space")  # fmt: skip
    add("--order", type=str, default="activation", help="score that orders a checkpoint's units, so that smaller nets inherit "
        f"what matters: {', '.join(SCORES)}, or none")  # fmt: skip
    add("--lora-rank", type=int | None, help="train low-rank adapters of this rank on the linear maps, in place of all "
        "weights, so that a supernet to fine-tune takes little more memory than they; merged in what is exported")  # fmt: skip


FlagsT = TypeVar("FlagsT", bound=SearchFlags)


def parse_search_flags(
    parser: ArgumentParser,
    arguments: Sequence[str] | None,
    flags_class: type[FlagsT],
    defaults: Mapping[str, Any],
    around: Callable[[str], Mapping[str, Any]],
) -> FlagsT:
    """The flags of a command line. What was not given comes from the space's recipe, then from ``defaults``.

    Args:
        parser: of ``search_parser``.
        arguments: the command line; None for the process's own.
        flags_class: the task's flags.
        defaults: what was not given, ``space`` among it.
        around: the same for a search around the checkpoint that is named; stronger than a recipe.

    Raises:
        ValueError: an unknown flag or key, or a value that is not allowed.
    """
    given = resumed(parse(parser, arguments), flags_class)
    checkpoint = {} if given["init_from"] is None or given["resume"] else around(given["init_from"])
    space = given["space"] or checkpoint.get("space") or defaults["space"]
    suggested = {**asdict(_DEFAULTS), **defaults, **load_space(space).recipe, **checkpoint, "space": space}
    for name, value in given.items():
        if value is None and suggested.get(name) is not None:
            given[name] = suggested[name]
    check_choices(given, _CHOICES)
    return flags_class(**given)
