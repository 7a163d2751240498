import subprocess
import sys

import knotwork_search

PUBLIC = """
    LATENCY STRATEGIES Alphas Batch BlackBox Budget BudgetError Candidate DivergedError Interruption LatencyTable
    LatencyVerdict Ranked Recorder RunFolder RunInterrupted
    Search SearchData SearchResult SearchSettings StepProfile Strategy Supernet TimedSupernet TrainSettings
    Training batches cached_table
    choose comparison comparison_table costs device_name draw_architecture entropy evaluate evaluate_alone expected_flops
    fixed_batches front_csv initial_alphas likeliest load_checkpoint measure_latency most_likely nondominated outcome_record
    planned_steps random_candidates read_settings seeded shared shortlist strategy train_alone uniform_mixture versions
    write_atomically
"""


def test_public_names():
    """A name that comes or goes is a change of the interface: write it here, in the README and in the version."""
    assert knotwork_search.__all__ == PUBLIC.split()
    assert all(hasattr(knotwork_search, name) for name in knotwork_search.__all__)


def test_knows_no_model_family_and_needs_no_extra():
    missing = "timm", "transformers", "datasets", "tokenizers", "matplotlib", "knotwork_spaces", "knotwork_export"
    code = f"import sys; sys.modules.update(dict.fromkeys({missing})); import knotwork_search"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
