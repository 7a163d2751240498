"""The flags that training shares whatever the data, which are also the keys of its YAML configuration."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from jsonargparse import ArgumentParser
from knotwork_search import RunFolder

from knotwork_tasks._parsing import check_choices, check_settings, parse, resumed
from knotwork_tasks._run_flags import RunFlags, add_run_flags

INHERIT, SCRATCH = "inherit", "scratch"
DEFAULT_TEMPERATURE, DEFAULT_WEIGHT = 2.0, 0.5
_NOT_REPEATED = ("output_dir", "resume", "push_to_hub", "max_time")
_CHOICES: dict[str, tuple[str | None, ...]] = {
    "init": (INHERIT, SCRATCH),
    "mixed_precision": ("no", "bf16", "fp16"),
    "report_to": ("none", "tensorboard", "wandb", "trackio"),
}
# A run that a model lies in knows what it was searched on and with: that is what training goes on with.
_OF_THE_RUN = ("dataset", "batch_size", "learning_rate")


@dataclass(frozen=True, kw_only=True)
class TrainFlags(RunFlags):
    """Every setting of a training that does not depend on the kind of data.

    A task adds its own flags in a subclass.

    Attributes:
        model: an exported folder, or an architecture's JSON file.
        init: ``inherit`` or ``scratch``.
        teacher: a folder whose predictions are learnt too, or None.
        temperature: of the teacher's and the student's predictions.
        distillation_weight: of the teacher's part in the loss; the labels have the rest.
    """

    output_dir: str
    model: str
    init: str
    dataset: str
    steps: int
    batch_size: int
    gradient_accumulation: int
    learning_rate: float
    weight_decay: float
    teacher: str | None
    temperature: float
    distillation_weight: float
    seed: int
    mixed_precision: str
    compile: bool
    resume: bool
    push_to_hub: str | None
    report_to: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature is {self.temperature}: it must be positive")
        if not 0 <= self.distillation_weight <= 1:
            raise ValueError(f"distillation_weight is {self.distillation_weight}: it must be at least 0 and at most 1")

    def as_config(self) -> dict[str, Any]:
        """The settings that repeat the training, for ``--config``."""
        return {name: value for name, value in asdict(self).items() if name not in _NOT_REPEATED}


def train_parser(program: str, description: str, datasets: str) -> ArgumentParser:
    """A parser with the shared flags, to which a task adds its own.

    Args:
        program: the app's name.
        description: one line for ``--help``.
        datasets: what ``--dataset`` takes.
    """
    parser = ArgumentParser(prog=program, description=description, exit_on_error=False)
    add = parser.add_argument
    add("--config", action="config", help="YAML file of settings; flags given after it win")
    add("--model", type=str | None, help="a model's folder, such as RUN/model, or an architecture's JSON file, such as "
        "RUN/architecture.json; it is read only")  # fmt: skip
    add("--output-dir", type=str, required=True, help="the training's folder, new or empty; the model goes to its model/")
    add("--init", type=str, default=INHERIT, help="inherit goes on with the weights of the folder, or of the supernet beside "
        "the JSON file; scratch draws new ones")  # fmt: skip
    add("--dataset", type=str | None, help=f"{datasets}; by default, as batch size and learning rate, what the run that the "
        "model lies in was started with")  # fmt: skip
    add("--steps", type=int | None, help="weight steps; as many as the run's by default")
    add("--batch-size", type=int | None, help="items in a batch, per process")
    add("--gradient-accumulation", type=int, default=1, help="batches summed up for one step")
    add("--learning-rate", type=float | None, help="the peak")
    add("--weight-decay", type=float, default=0.1, help="of matrices")
    add("--teacher", type=str | None, help="a model's folder to learn from as well (knowledge distillation)")
    add("--temperature", type=float, default=DEFAULT_TEMPERATURE, help="that softens the teacher's and the model's predictions")
    add(
        "--distillation-weight", type=float, default=DEFAULT_WEIGHT, help="of the teacher in the loss; the labels have the rest"
    )
    add("--seed", type=int, default=0, help="of everything random")
    add("--mixed-precision", type=str, default="no", help="no, bf16 or fp16")
    add("--compile", action="store_true", help="compile the model with torch.compile")
    add_run_flags(parser)
    add("--resume", action="store_true", help="go on with the training in the output folder, with its own settings")
    add("--push-to-hub", type=str | None, help="USER/NAME to publish the model as")
    add("--report-to", type=str, default="none", help="none, tensorboard, wandb or trackio")
    return parser


FlagsT = TypeVar("FlagsT", bound=TrainFlags)


def parse_train_flags(
    parser: ArgumentParser,
    arguments: Sequence[str] | None,
    flags_class: type[FlagsT],
    defaults: Mapping[str, Any],
    of_the_run: Sequence[str] = (),
) -> FlagsT:
    """The flags of a command line. What was not given comes from the run that the model lies in, then from ``defaults``.

    Args:
        parser: with all the flags.
        arguments: of the command line; the process's own when None.
        flags_class: what to build.
        defaults: by flag.
        of_the_run: the task's own flags that the run's settings may fill in.

    Raises:
        ValueError: an unknown flag or key, a value that is not allowed, or no model.
    """
    given = resumed(parse(parser, arguments), flags_class)
    if given["model"] is None:
        raise ValueError("--model is missing: name a model's folder, such as RUN/model, or an architecture's JSON file")
    suggested = {**defaults, **_settings_of_the_run(given["model"], (*_OF_THE_RUN, *of_the_run), flags_class)}
    for name, value in given.items():
        if value is None and suggested.get(name) is not None:
            given[name] = suggested[name]
    check_choices(given, _CHOICES)
    return flags_class(**given)


def _settings_of_the_run(model: str, names: Sequence[str], flags_class: type[TrainFlags]) -> dict[str, Any]:
    """What the run that a model or an architecture lies in was started with. Raises ValueError for what no flag could be."""
    run = RunFolder(Path(os.path.abspath(os.path.expanduser(model))).parent)
    if not run.config.exists():
        return {}
    config = run.read_config()
    settings = {name: config[name] for name in names if config.get(name) is not None}
    steps = config.get("steps") or config.get("max_steps")
    if steps is not None:
        settings["steps"] = steps
    check_settings(settings, flags_class, run.config)
    return settings
