from __future__ import annotations

import subprocess
import sys

import knotwork_spaces
import pytest
from knotwork_spaces import Family, cells, family, family_names, gpt2, llama, vit

PUBLIC = """
    Family Pretrained SpaceDefinition adapted check_finite check_model_folder check_size family family_names load_pretrained
    load_space merged_state preset_names presets_of space_definition space_from_dict
"""
GPT2 = """
    GPT2Space GPT2Supernet PerLayerGPT2Config PerLayerGPT2LMHeadModel gpt2_cost load_pretrained plain_metrics plain_model
    slice_state_dict units
"""
LLAMA = """
    LlamaSpace LlamaSupernet PerLayerLlamaConfig PerLayerLlamaForCausalLM PerLayerMistralConfig PerLayerMistralForCausalLM
    PerLayerQwen3Config PerLayerQwen3ForCausalLM llama_cost load_pretrained plain_metrics plain_model
    slice_state_dict units
"""
VIT = """
    ViTSpace ViTSupernet check_timm_folder load_pretrained per_layer_vit plain_metrics plain_model slice_state_dict units
    vit_cost
"""
CELLS = """
    OPERATIONS BenchmarkRow ToyCellNetwork ToyCellSpace ToyCellSupernet cell_cost load_cells plain_metrics plain_model
    read_benchmark recalibrate save_cells slice_state_dict
"""


@pytest.mark.parametrize(
    ("module", "names"),
    [(knotwork_spaces, PUBLIC), (gpt2, GPT2), (llama, LLAMA), (vit, VIT), (cells, CELLS)],
    ids=["knotwork_spaces", "gpt2", "llama", "vit", "cells"],
)
def test_public_names(module, names: str):
    """A name that comes or goes is a change of the interface: write it here, in the README and in the version."""
    assert module.__all__ == names.split()
    assert all(hasattr(module, name) for name in module.__all__)


def test_families():
    assert family_names() == ["gpt2", "llama", "toy-cell", "vit"]
    expected = {
        "gpt2": (gpt2.GPT2Space, gpt2.GPT2Supernet, gpt2),
        "llama": (llama.LlamaSpace, llama.LlamaSupernet, llama),
        "vit": (vit.ViTSpace, vit.ViTSupernet, vit),
        "toy-cell": (cells.ToyCellSpace, cells.ToyCellSupernet, cells),
    }
    for name, (space, supernet, module) in expected.items():
        optional = getattr(module, "load_pretrained", None), getattr(module, "units", None)
        assert family(name) == (space, supernet, module.plain_model, module.plain_metrics, *optional)
    assert Family._fields == ("space", "supernet", "plain_model", "plain_metrics", "load_pretrained", "units")
    for name in family_names():
        assert isinstance(family(name), Family)
        assert family(name).space.family == name
    with pytest.raises(ValueError, match=r"unknown family 'gpt3': known are \['gpt2', 'llama', 'toy-cell', 'vit'\]"):
        family("gpt3")


def run_without(library: str, code: str) -> None:
    """Run code in a process that cannot import a library."""
    block = f"import sys\nsys.modules[{library!r}] = None\n"
    done = subprocess.run([sys.executable, "-c", block + code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("library", "extra", "missing", "present"),
    [("transformers", "gpt", "gpt2", "vit"), ("timm", "vit", "vit", "gpt2")],
    ids=["transformers", "timm"],
)
def test_a_family_whose_library_is_missing_says_so_and_the_other_works(library: str, extra: str, missing: str, present: str):
    presets = {"gpt2": "gpt-nano", "vit": "vit-nano"}
    run_without(
        library,
        f"""
import knotwork_spaces as spaces
assert {presets["gpt2"]!r} in spaces.presets_of("gpt2")
assert {presets["vit"]!r} in spaces.presets_of("vit")
assert spaces.family_names() == ["gpt2", "llama", "toy-cell", "vit"]
assert not [name for name in ("transformers", "timm", "peft") if sys.modules.get(name)], "listing imports no library"
for use in (lambda: spaces.load_space({presets[missing]!r}), lambda: spaces.family({missing!r})):
    try:
        use()
    except ImportError as error:
        assert "needs {library}: pip install 'knotwork-spaces[{extra}]'" in str(error), error
    else:
        sys.exit("the family did not miss its library")
definition = spaces.load_space({presets[present]!r})
space = definition.build()
supernet = spaces.family({present!r}).supernet
assert spaces.space_from_dict(space.as_dict()) == space
assert supernet.__name__.endswith("Supernet")
""",
    )
