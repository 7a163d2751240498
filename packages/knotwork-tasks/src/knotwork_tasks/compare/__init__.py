"""Search strategies compared at equal compute: the paper's assessment as a command."""

from knotwork_tasks.compare._compare import compare, digest
from knotwork_tasks.compare._flags import CompareFlags, parse_compare_flags
from knotwork_tasks.compare._folder import Cell, CompareFolder, result_of
from knotwork_tasks.compare._statistics import kendall_tau, mean_and_error, variance

__all__ = [
    "Cell",
    "CompareFlags",
    "CompareFolder",
    "compare",
    "digest",
    "kendall_tau",
    "mean_and_error",
    "parse_compare_flags",
    "result_of",
    "variance",
]
