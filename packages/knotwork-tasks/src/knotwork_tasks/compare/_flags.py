"""The flags of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from jsonargparse import ArgumentParser
from knotwork_search import STRATEGIES

from knotwork_tasks._parsing import parse

RANDOM = "random"
"""No search: an architecture drawn within the budget."""
DEFAULT_STRATEGIES = ["drnas", "darts", "darts-2nd", "gdas", "spos-rs", "spos-re", "sandwich-re", RANDOM]


@dataclass(frozen=True, kw_only=True)
class CompareFlags:
    """What is compared, and how.

    Attributes:
        search: further flags of every search, by the names that its app gives them, with underscores.
    """

    output_dir: str
    space: str
    strategies: list[str]
    seeds: int
    max_params: float | Literal["halfway", "none"]
    max_flops: float | None
    compute: float | None
    retrain_steps: int
    ranked: int
    incumbents: int
    benchmark: str | None
    processes: int
    search: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.strategies:
            if name not in (*STRATEGIES, RANDOM):
                raise ValueError(f"unknown strategy {name!r}: known are {[*STRATEGIES, RANDOM]}")
        if not self.strategies:
            raise ValueError(f"no strategies are named: known are {[*STRATEGIES, RANDOM]}")
        for name, least in (("seeds", 1), ("retrain_steps", 1), ("ranked", 2), ("incumbents", 1), ("processes", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"--{name.replace('_', '-')} is {getattr(self, name)}: it must be at least {least}")

    def as_config(self) -> dict[str, Any]:
        """What must stay the same for finished cells to be used again."""
        return {k: v for k, v in asdict(self).items() if k not in ("output_dir", "strategies", "seeds", "processes")}


def parse_compare_flags(program: str, description: str, arguments: Sequence[str] | None) -> CompareFlags:
    """The flags of a command line. Raises ValueError for an unknown one or a value that is not allowed."""
    parser = ArgumentParser(prog=program, description=description, exit_on_error=False)
    add = parser.add_argument
    add("--config", action="config", help="YAML file of settings; flags given after it win")
    add("--output-dir", type=str, required=True, help="folder of the comparison; started again, it goes on where it was")
    add("--space", type=str, default="gpt-nano", help="a preset or a YAML file, of text or images")
    add(
        "--strategies",
        type=str,
        default=",".join(DEFAULT_STRATEGIES),
        help=f"separated by commas: {', '.join(STRATEGIES)}, {RANDOM}",
    )
    add("--seeds", type=int, default=3, help="searches of each strategy")
    add("--max-params", type=float | Literal["halfway", "none"], default="halfway", help="as of a search")
    add("--max-flops", type=float | None, help="as of a search")
    add("--compute", type=float | None, help="FLOPs of forward and backward passes that a search may spend; by default what "
        "DrNAS takes for the space's own number of steps, or for --search '{max_steps: N}'")  # fmt: skip
    add("--retrain-steps", type=int, default=600, help="steps of each training from scratch")
    add(
        "--ranked", type=int, default=16, help="random architectures whose ranks by inherited and stand-alone loss are compared"
    )
    add("--incumbents", type=int, default=20, help="points on the curve of a search's best architecture so far")
    add(
        "--benchmark",
        type=str | None,
        help="CSV of stand-alone results of every architecture: in place of training from scratch",
    )
    add("--processes", type=int, default=1, help="cells at a time; more than one blurs time and needs the memory")
    add("--search", type=dict[str, Any], default={}, help="further flags of every search: {batch_size: 8, dataset: my.txt}")
    given = parse(parser, arguments)
    given["strategies"] = list(dict.fromkeys(filter(None, given["strategies"].split(","))))
    return CompareFlags(**given)
