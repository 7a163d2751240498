"""Search strategies compared at equal compute: the paper's assessment as a command."""

from knotwork_tasks.compare._compare import compare
from knotwork_tasks.compare._flags import CompareFlags, parse_compare_flags
from knotwork_tasks.compare._scratch import train_from_scratch
from knotwork_tasks.compare._statistics import kendall_tau, mean_and_error, variance

__all__ = [
    "CompareFlags",
    "compare",
    "kendall_tau",
    "mean_and_error",
    "parse_compare_flags",
    "train_from_scratch",
    "variance",
]
