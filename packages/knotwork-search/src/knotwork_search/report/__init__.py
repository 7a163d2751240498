"""The report of a search run: one self-contained HTML page from the files of the run's folder."""

from knotwork_search.report._run import read_metrics
from knotwork_search.report._write import write_report

__all__ = ["read_metrics", "write_report"]
