from __future__ import annotations

import subprocess
import sys

import knotwork_spaces
import pytest
from knotwork_spaces import family, family_names, gpt2

PUBLIC = "SpaceDefinition family family_names load_space preset_names space_definition space_from_dict"
GPT2 = """
    GPT2Space GPT2Supernet PerLayerGPT2Config PerLayerGPT2LMHeadModel gpt2_cost plain_model slice_state_dict
"""


@pytest.mark.parametrize(("module", "names"), [(knotwork_spaces, PUBLIC), (gpt2, GPT2)], ids=["knotwork_spaces", "gpt2"])
def test_public_names(module, names: str):
    """A name that comes or goes is a change of the interface: write it here, in the README and in the version."""
    assert module.__all__ == names.split()
    assert all(hasattr(module, name) for name in module.__all__)


def test_families():
    assert family_names() == ["gpt2"]
    assert family("gpt2") == (gpt2.GPT2Space, gpt2.GPT2Supernet)
    with pytest.raises(ValueError, match=r"unknown family 'gpt3': known are \['gpt2'\]"):
        family("gpt3")


def test_imports_without_transformers_and_says_what_is_missing():
    code = """
import sys
sys.modules["transformers"] = None
import knotwork_spaces
assert knotwork_spaces.preset_names()
try:
    knotwork_spaces.load_space("gpt-nano")
except ImportError as error:
    assert "pip install 'knotwork-spaces[gpt]'" in str(error), error
else:
    sys.exit("the family did not miss transformers")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
