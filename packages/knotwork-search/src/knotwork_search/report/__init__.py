"""The report of runs: one self-contained HTML page from the files of a run's folder, or of several laid side by side."""

from knotwork_search.report._run import read_metrics
from knotwork_search.report._write import write_report, write_side_by_side

__all__ = ["read_metrics", "write_report", "write_side_by_side"]
