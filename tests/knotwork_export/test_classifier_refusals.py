"""What export_classifier and its verification refuse, and that nothing is left where they do."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from knotwork_export import ExportError, Preprocessing, _verify, export_classifier, verify_classifier
from knotwork_export._classifier import Classifier
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .classifiers import LABELS, ClassifierCase, prepared

GIVEN: dict[str, Any] = {"labels": LABELS, "input_size": (3, 16, 16), "mean": (0.5,) * 3, "std": (0.5,) * 3}


@pytest.fixture
def case(tmp_path: Path) -> ClassifierCase:
    return prepared("uniform", tmp_path / "a" / "b")


def export_case(case: ClassifierCase, **changes: Any) -> Path:
    given = {"timm_model": case.timm_model, "preprocessing": case.preprocessing, **changes}
    return export_classifier(given.pop("model", case.model()), case.folder, **given)


@pytest.mark.parametrize(("changed", "message"), [("depth", "does not load in a process without"), ("global_pool", "norm")])
def test_wrong_model_args_are_an_error_and_leave_nothing(case: ClassifierCase, tmp_path: Path, changed: str, message: str):
    name, arguments = case.timm_model
    wrong = {"depth": {"depth": arguments["depth"] + 1}, "global_pool": {"global_pool": "avg"}}[changed]
    with pytest.raises(ExportError, match=message):
        export_case(case, timm_model=(name, {**arguments, **wrong}))
    assert not list(tmp_path.iterdir())


def test_wrong_number_of_heads_shows_in_the_logits_alone(case: ClassifierCase, tmp_path: Path):
    name, arguments = case.timm_model
    with pytest.raises(
        ExportError, match=r"loaded with \w+, differ from the model's by up to \d.*: they must be equal bit for bit"
    ):
        export_case(case, timm_model=(name, {**arguments, "num_heads": 2}))
    assert not list(tmp_path.iterdir())


def test_code_that_needs_knotwork_does_not_load(tmp_path: Path):
    case = prepared("per_layer", tmp_path / "a")
    export_case(case, verify=False)
    with (case.folder / "per_layer_vit.py").open("a") as file:
        file.write("\nimport knotwork_ops\n")
    with pytest.raises(ExportError, match=r"(?s)does not load in a process without knotwork .*knotwork_ops"):
        verify_classifier(case.folder, case.model())


def request_for(case: ClassifierCase, tmp_path: Path) -> dict[str, Any]:
    """What the fresh process is told, for the tests that run its loaders in another one."""
    request = Classifier.of(case.model(), case.timm_model, case.preprocessing, None, None).request(case.folder)
    given, output = str(tmp_path / "inputs.safetensors"), str(tmp_path / "results.safetensors")
    return request | {"folder": str(case.folder), "threads": torch.get_num_threads(), "input": given, "output": output}


def test_without_transformers_timm_alone_loads_and_is_compared(tmp_path: Path):
    case = prepared("per_layer", tmp_path / "a")
    export_case(case, verify=False)
    request = request_for(case, tmp_path)
    save_file({"inputs": case.images}, request["input"])
    code = f"""
import json, runpy, sys
sys.modules["transformers"] = None
runpy.run_path({str(_verify.SCRIPT)!r}, run_name="alone")["load"](json.loads({json.dumps(request)!r}))
"""
    done = subprocess.run([sys.executable, "-I", "-B", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    results = load_file(request["output"])
    with torch.inference_mode():
        assert list(results) == ["logits.timm"]
        assert torch.equal(results["logits.timm"], case.model().eval()(case.images))


@pytest.mark.parametrize("library", ["timm", "transformers"])
@pytest.mark.parametrize(("name", "value"), [("labels", ["other"]), ("data_config", {})])
def test_library_that_reads_other_settings_is_an_error(tmp_path: Path, library: str, name: str, value: Any):
    case = prepared("uniform", tmp_path / "a")
    export_case(case, verify=False)
    request = request_for(case, tmp_path)
    loader = runpy.run_path(str(_verify.SCRIPT), run_name="alone")["LOADERS"][f"{library}_classifier"]
    message = f"{library} reads {name} as {request[name]}, but it was given as {value}"
    with pytest.raises(SystemExit, match=re.escape(message)):
        loader(request | {name: value}, case.images)


@pytest.mark.parametrize("kind", ["equal", "one bit", "precision", "not finite", "another architecture"])
def test_unequal_results_are_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str):
    case = prepared("per_layer", tmp_path / "a")
    export_case(case, verify=False)
    model, reference = case.model().eval(), case.logits
    with torch.inference_mode():
        logits = model(case.images)
    results: dict[str, Tensor] = {"logits.transformers": logits, "logits.timm": logits.clone()}
    monkeypatch.setattr(_verify, "_load_alone", lambda *_: results)
    message = ""
    if kind == "one bit":
        results["logits.timm"][0, 0] = logits[0, 0].nextafter(torch.tensor(9.0))
        message = r"the exported model's logits, loaded with timm, differ from the model's by up to \d.*e-\d+"
    elif kind == "precision":
        results["logits.timm"] = logits.double()
        message = r"loaded with timm, gives torch\.float64 logits \(3, 5\), but the model torch\.float32 \(3, 5\)"
    elif kind == "not finite":
        nn.init.constant_(model.head.bias, float("nan"))
        message = "the model's logits are not finite"
    elif kind == "another architecture":
        with torch.inference_mode():
            reference = case.supernet.logits(case.images, case.supernet.space.smallest)
        message = r"differ from reference_logits by up to \d"
    if kind == "equal":
        with torch.autocast("cpu", dtype=torch.bfloat16):  # the caller's setting must not reach the comparison
            verify_classifier(case.folder, model, reference_images=case.images, reference_logits=reference)
        return
    with pytest.raises(ExportError, match=message):
        verify_classifier(case.folder, model, reference_images=case.images, reference_logits=reference)


@pytest.mark.parametrize("labels", [LABELS[:-1], (*LABELS, "sixth")])
def test_labels_must_fit_the_classes(case: ClassifierCase, tmp_path: Path, labels: tuple[str, ...]):
    with pytest.raises(ValueError, match=rf"the preprocessing has {len(labels)} labels, but the model has 5 classes"):
        export_case(case, preprocessing=replace(case.preprocessing, labels=labels))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [(3, 32, 32), (3, 16, 8), (1, 16, 16)])
def test_images_must_fit_the_model(case: ClassifierCase, size: tuple[int, int, int]):
    other = replace(case.preprocessing, input_size=size, mean=(0.5,) * size[0], std=(0.5,) * size[0])
    with pytest.raises(ValueError, match=rf"images of \({size[0]}, .*, but the model takes \(3, 16, 16\)"):
        export_case(case, preprocessing=other)


def test_refuses_what_is_no_timm_vit(case: ClassifierCase):
    headless = timm.create_model("vit_tiny_patch16_224", num_classes=0, depth=1, embed_dim=12)
    for model in (nn.Linear(2, 2), case.supernet, nn.Sequential(case.model()), headless):
        with pytest.raises(ValueError, match=f"the model is a {type(model).__name__}: expected a timm VisionTransformer"):
            export_case(case, model=model)


def nameless_vit(pretrained: bool = False, **settings: Any) -> nn.Module:
    raise NotImplementedError


def test_refuses_a_name_that_will_not_load(case: ClassifierCase, tmp_path: Path):
    with pytest.raises(ValueError, match=r"timm does not know the model 'vit_unheard_of': .*knotwork_export\.timm_models"):
        export_case(case, timm_model=("vit_unheard_of", {}))
    with pytest.raises(ValueError, match="model_args have num_classes 5: leave it out"):
        export_case(case, timm_model=(case.timm_model[0], {**case.timm_model[1], "num_classes": 5}))
    timm.models.register_model(nameless_vit)
    with pytest.raises(ValueError, match=r"'nameless_vit' is from .*test_classifier_refusals, which has no AUTO_MAP"):
        export_case(case, timm_model=("nameless_vit", {}))
    assert not list(tmp_path.iterdir())


def test_existing_folder_must_be_empty(case: ClassifierCase):
    export_case(case, verify=False)
    before = {path.name: path.read_bytes() for path in case.folder.iterdir()}
    with pytest.raises(FileExistsError, match="b is there already"):
        export_case(case, verify=False)
    assert {path.name: path.read_bytes() for path in case.folder.iterdir()} == before


@pytest.mark.parametrize(
    ("images", "logits", "message"),
    [
        (None, torch.zeros(2, 5), "reference_logits were given without reference_images"),
        (torch.zeros(2, 3, 16, 8), None, r"shape \(2, 3, 16, 8\) .* = \(1 or more, 3, 16, 16\)"),
        (torch.zeros(3, 16, 16), None, r"shape \(3, 16, 16\) .* expected floating point \(batch, channels, height, width\)"),
        (torch.zeros(0, 3, 16, 16), None, r"shape \(0, 3, 16, 16\)"),
        (torch.zeros(2, 3, 16, 16, dtype=torch.uint8), None, r"type torch\.uint8: expected floating point"),
        (torch.zeros(2, 3, 16, 16), torch.zeros(2, 4), r"shape \(2, 4\): expected \(batch, classes\) = \(2, 5\)"),
    ],
)
def test_reference_must_fit(case: ClassifierCase, images: Any, logits: Any, message: str):
    with pytest.raises(ValueError, match=message):
        export_case(case, reference_images=images, reference_logits=logits)


def test_default_reference_leaves_the_random_state_alone(case: ClassifierCase):
    before = torch.random.get_rng_state()
    first, second = (Classifier.of(case.model(), case.timm_model, case.preprocessing, None, None) for _ in range(2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(first.reference.inputs, second.reference.inputs)
    assert first.reference.inputs.shape == (2, 3, 16, 16)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"labels": ("a", "")}, r"labels are \('a', ''\): expected a tuple of names, none of them empty"),
        ({"labels": "abc"}, "labels are 'abc'"),
        ({"input_size": (3, 16)}, r"input_size is \(3, 16\): expected \(channels, height, width\)"),
        ({"input_size": (3, 0, 16)}, r"input_size is \(3, 0, 16\)"),
        ({"mean": (0.5,)}, r"mean is \(0\.5,\): expected 3 numbers"),
        ({"std": (0.5, 0.5, float("nan"))}, r"std is \(0\.5, 0\.5, nan\): expected 3 numbers"),
        ({"std": (0.5, 0.0, 0.5)}, r"std is \(0\.5, 0\.0, 0\.5\): .* must be positive"),
        ({"crop_pct": 1.1}, r"crop_pct is 1\.1: expected the share that is kept"),
        ({"crop_pct": 0}, "crop_pct is 0"),
        ({"interpolation": "cubic"}, "interpolation is 'cubic': timm knows nearest, bilinear, bicubic"),
        ({"crop_mode": "top"}, "crop_mode is 'top': timm knows center, squash, border"),
    ],
)
def test_preprocessing_must_be_of_its_form(changed: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        Preprocessing(**{**GIVEN, **changed})
