"""Latency as a currency: a table of block timings of this device, and what the found model really takes."""

from knotwork_search.latency._cache import cached_table
from knotwork_search.latency._check import measured_table
from knotwork_search.latency._clock import Clock, clock_of, device_name
from knotwork_search.latency._table import LatencyTable
from knotwork_search.latency._timing import Timing, time_architectures
from knotwork_search.latency._verdict import BudgetError, LatencyVerdict, measure_latency

__all__ = [
    "BudgetError",
    "Clock",
    "LatencyTable",
    "LatencyVerdict",
    "Timing",
    "cached_table",
    "clock_of",
    "device_name",
    "measure_latency",
    "measured_table",
    "time_architectures",
]
