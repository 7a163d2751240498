import subprocess
import sys

import knotwork_export

NAMES = [
    "ExportError",
    "Preprocessing",
    "Provenance",
    "export",
    "export_classifier",
    "model_card",
    "push_to_hub",
    "verify_classifier",
    "verify_export",
]


def test_public_names():
    assert sorted(knotwork_export.__all__) == NAMES
    assert all(hasattr(knotwork_export, name) for name in NAMES)


def test_imports_without_the_extras_and_says_what_is_missing():
    code = """
import importlib, sys
from knotwork_export import *
for name in ("transformers", "timm"):
    assert name not in sys.modules, f"importing knotwork_export imported {name}"
    sys.modules[name] = None
import torch
model = torch.nn.Linear(1, 1)
calls = [
    ("gpt", lambda: export(model, "nowhere")),
    ("vit", lambda: export_classifier(model, "nowhere", timm_model=("a", {}), preprocessing=None)),
    ("vit", lambda: importlib.import_module("knotwork_export.timm_models")),
]
for extra, call in calls:
    try:
        call()
    except ImportError as error:
        assert f"pip install 'knotwork-export[{extra}]'" in str(error), error
    else:
        sys.exit(f"nothing of {extra} was missed")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
