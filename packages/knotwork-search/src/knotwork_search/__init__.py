"""Search strategies, budgets and the search loop. Knows no model family: it sees the ``Supernet`` protocol."""

from knotwork_search._alphas import entropy, initial_alphas
from knotwork_search._batches import batches, fixed_batches
from knotwork_search._black_box import BlackBox
from knotwork_search._budget import LATENCY, Budget, costs
from knotwork_search._checkpoint import load_checkpoint
from knotwork_search._discretise import Candidate, likeliest, shortlist
from knotwork_search._evaluate import evaluate, evaluate_alone
from knotwork_search._files import write_atomically
from knotwork_search._front import front_csv, nondominated
from knotwork_search._interruption import Interruption, RunInterrupted
from knotwork_search._loop import Search, SearchData, SearchResult
from knotwork_search._non_finite import DivergedError
from knotwork_search._outcome import comparison, comparison_table, outcome_record, versions
from knotwork_search._plan import expected_flops, planned_steps
from knotwork_search._processes import shared
from knotwork_search._profile import StepProfile
from knotwork_search._protocols import Alphas, Batch, Strategy, Supernet, TimedSupernet
from knotwork_search._recorder import Recorder
from knotwork_search._run import RunFolder, read_settings
from knotwork_search._sampling import draw_architecture, most_likely, seeded, uniform_mixture
from knotwork_search._select import Ranked, choose, random_candidates
from knotwork_search._settings import SearchSettings, TrainSettings
from knotwork_search._train import Training, train_alone
from knotwork_search.latency import BudgetError, LatencyTable, LatencyVerdict, cached_table, device_name, measure_latency
from knotwork_search.strategies import STRATEGIES, strategy

__all__ = [
    "LATENCY",
    "STRATEGIES",
    "Alphas",
    "Batch",
    "BlackBox",
    "Budget",
    "BudgetError",
    "Candidate",
    "DivergedError",
    "Interruption",
    "LatencyTable",
    "LatencyVerdict",
    "Ranked",
    "Recorder",
    "RunFolder",
    "RunInterrupted",
    "Search",
    "SearchData",
    "SearchResult",
    "SearchSettings",
    "StepProfile",
    "Strategy",
    "Supernet",
    "TimedSupernet",
    "TrainSettings",
    "Training",
    "batches",
    "cached_table",
    "choose",
    "comparison",
    "comparison_table",
    "costs",
    "device_name",
    "draw_architecture",
    "entropy",
    "evaluate",
    "evaluate_alone",
    "expected_flops",
    "fixed_batches",
    "front_csv",
    "initial_alphas",
    "likeliest",
    "load_checkpoint",
    "measure_latency",
    "most_likely",
    "nondominated",
    "outcome_record",
    "planned_steps",
    "random_candidates",
    "read_settings",
    "seeded",
    "shared",
    "shortlist",
    "strategy",
    "train_alone",
    "uniform_mixture",
    "versions",
    "write_atomically",
]
