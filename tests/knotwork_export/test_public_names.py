import subprocess
import sys

import knotwork_export

NAMES = ["ExportError", "Provenance", "export", "model_card", "push_to_hub", "verify_export"]


def test_public_names():
    assert sorted(knotwork_export.__all__) == NAMES
    assert all(hasattr(knotwork_export, name) for name in NAMES)


def test_imports_without_transformers_and_says_what_is_missing():
    code = """
import sys
sys.modules["transformers"] = None
import knotwork_export, torch
try:
    knotwork_export.export(torch.nn.Linear(1, 1), "nowhere")
except ImportError as error:
    assert "pip install 'knotwork-export[gpt]'" in str(error), error
else:
    sys.exit("export did not miss transformers")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
