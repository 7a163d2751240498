"""Folders as export_classifier leaves them, loaded with timm and with transformers in this process."""

from __future__ import annotations

import ast
import json
import pickle
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from knotwork_export import ExportError, _classifier, export_classifier, timm_models
from PIL import Image
from safetensors.torch import load_file
from timm.data.config import resolve_model_data_config
from timm.data.transforms_factory import create_transform
from transformers import AutoImageProcessor, AutoModelForImageClassification

from .classifiers import LABELS, MORE_CLASSIFIERS, ClassifierCase, exported, prepared

FILES = {"README.md", "config.json", "model.safetensors"}
CODE = "per_layer_vit.py"


@pytest.fixture
def default_dtype():
    yield
    torch.set_default_dtype(torch.float32)


def with_timm(case: ClassifierCase, **options: Any) -> Any:
    assert timm_models.per_layer_vit  # imported, so registered
    torch.set_default_dtype(case.logits.dtype)
    try:
        return timm.create_model(f"local-dir:{case.folder}", pretrained=True, **options).eval()
    finally:
        torch.set_default_dtype(torch.float32)


def with_transformers(case: ClassifierCase) -> Any:
    trust = {"trust_remote_code": True} if case.custom_code else {}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Overwriting per_layer_vit in registry")
        model = AutoModelForImageClassification.from_pretrained(case.folder, **trust).eval()
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()  # transformers maps the file, and addresses decide the last bit
    return model


def check_logits(case: ClassifierCase) -> None:
    images = case.images.to(case.logits.dtype)
    with torch.inference_mode():
        expected = case.model().eval()(images)
        loaded = {"timm": with_timm(case)(images), "transformers": with_transformers(case)(images).logits}
    for library, logits in loaded.items():
        assert torch.equal(logits, expected), library
        torch.testing.assert_close(logits, case.logits, rtol=1e-5, atol=1e-5)


def test_folder_holds_these_files_and_no_others(classifier: ClassifierCase):
    folder = classifier.folder
    assert {path.name for path in folder.iterdir()} == FILES | ({CODE} if classifier.custom_code else set())
    assert all(path.is_file() and not path.is_symlink() for path in folder.iterdir())
    assert [path.name for path in folder.parent.parent.iterdir()] == ["new"]


def test_config_is_timms_own_form(classifier: ClassifierCase):
    text = (classifier.folder / "config.json").read_text()
    config = json.loads(text)
    name, arguments = classifier.timm_model
    assert (config["architecture"], config["model_args"]) == (name, arguments)
    assert ("auto_map" in config) == classifier.custom_code == (name == "per_layer_vit")
    assert text.count('"num_classes"') == 1  # transformers passes it on its own
    assert config["label_names"] == list(LABELS)
    # timm up to 1.0.30 would take the first convolution of grey images for one of colour images.
    assert ("first_conv" in config["pretrained_cfg"]) == (classifier.preprocessing.input_size[0] == 3)
    pool = classifier.supernet.space.global_pool or "token"
    assert (config["num_classes"], config["num_features"], config["global_pool"]) == (
        5,
        classifier.architecture["embed_dim"],
        pool,
    )


def test_logits_are_bitwise_the_models_and_close_to_the_supernets(classifier: ClassifierCase):
    check_logits(classifier)


@pytest.mark.parametrize("name", list(MORE_CLASSIFIERS))
def test_every_setting_makes_the_round_trip(tmp_path: Path, name: str):
    case = exported(name, tmp_path / name, verify=False)
    check_logits(case)
    assert "could not import Knotwork" not in (case.folder / "README.md").read_text()


def test_weights_have_timms_names_and_the_models_precision(classifier: ClassifierCase):
    weights = load_file(classifier.folder / "model.safetensors")
    assert weights.keys() == classifier.model().state_dict().keys()
    assert {tensor.dtype for tensor in weights.values()} == {classifier.logits.dtype}
    assert with_transformers(classifier).dtype == classifier.logits.dtype


def test_both_libraries_prepare_images_as_given(classifier: ClassifierCase):
    size = classifier.preprocessing.input_size
    pixels = torch.randint(256, (40, 30, size[0]), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
    image = Image.fromarray(pixels.squeeze(-1).numpy())
    model = with_timm(classifier)
    transform: Any = create_transform(**resolve_model_data_config(model))
    processor: Any = AutoImageProcessor.from_pretrained(classifier.folder)
    prepared, given = processor(image)["pixel_values"][0], classifier.preprocessing
    assert prepared.shape == size
    assert torch.equal(prepared, transform(image))
    # By hand: the shorter edge to 16 / 0.9, the middle cut out, the channels shifted and scaled.
    resized = image.resize((17, int(17 * 40 / 30)), Image.Resampling.BILINEAR)
    left, top = round((resized.width - 16) / 2), round((resized.height - 16) / 2)
    cut = torch.tensor(list(resized.crop((left, top, left + 16, top + 16)).tobytes()), dtype=torch.float32) / 255
    by_hand = cut.view(16, 16, size[0]).permute(2, 0, 1)
    by_hand = (by_hand - torch.tensor(given.mean)[:, None, None]) / torch.tensor(given.std)[:, None, None]
    torch.testing.assert_close(prepared, by_hand)


def test_both_libraries_know_the_labels(classifier: ClassifierCase):
    assert tuple(with_timm(classifier).pretrained_cfg["label_names"]) == LABELS
    config = with_transformers(classifier).config
    assert config.id2label == dict(enumerate(LABELS))
    assert config.label2id == {label: index for index, label in enumerate(LABELS)}


def test_can_be_trained_further_on_other_classes(classifier: ClassifierCase):
    model = with_timm(classifier, num_classes=2)
    assert model.head.weight.shape == (2, classifier.architecture["embed_dim"])
    weights = load_file(classifier.folder / "model.safetensors")
    assert torch.equal(model.blocks[1].mlp.fc1.weight, weights["blocks.1.mlp.fc1.weight"])


def test_travelling_code_imports_nothing_but_timm_transformers_and_torch(classifier: ClassifierCase):
    roots: set[str] = set()
    for path in classifier.folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                roots |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0
                roots.add(str(node.module).split(".")[0])
    assert roots - sys.stdlib_module_names <= {"timm", "transformers", "torch"}
    assert ("timm" in roots) == classifier.custom_code


def test_code_that_imports_more_does_not_travel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "more.py").write_text("import timm, torch, math\nimport torchvision\n")
    case = prepared("uniform", tmp_path / "a")
    monkeypatch.setattr(_classifier, "_code", lambda _: (tmp_path / "more.py", {"AutoModelForImageClassification": "more.A"}))
    message = (
        r"more\.py travels with the model but imports torchvision: it may import timm, torch, transformers and the standard"
    )
    with pytest.raises(ExportError, match=message):
        export_classifier(case.model(), case.folder, timm_model=case.timm_model, preprocessing=case.preprocessing)
    assert [path.name for path in tmp_path.iterdir()] == ["more.py"]


def test_model_that_came_with_its_code_exports_again(classifier: ClassifierCase, tmp_path: Path):
    loaded = with_transformers(classifier).timm_model  # per_layer_vit is now what transformers made of the folder's file
    export_classifier(
        loaded, tmp_path / "a", timm_model=classifier.timm_model, preprocessing=classifier.preprocessing, verify=False
    )
    for name in (FILES | {CODE}) - {"README.md"}:
        assert (tmp_path / "a" / name).exists() == (classifier.folder / name).exists()
        if (classifier.folder / name).exists():
            assert (tmp_path / "a" / name).read_bytes() == (classifier.folder / name).read_bytes()


def test_nothing_is_pickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a data file that can run code")

    for module, names in ((torch, ("save", "load")), (pickle, ("dump", "dumps", "load", "loads"))):
        for name in names:
            monkeypatch.setattr(module, name, refuse)
    with_timm(exported("per_layer", tmp_path / "a", verify=False))
    assert {path.suffix for path in (tmp_path / "a").iterdir()} == {".json", ".safetensors", ".md", ".py"}


@pytest.mark.usefixtures("default_dtype")
def test_loading_lines_of_the_card_run(classifier: ClassifierCase, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    blocks = (classifier.folder / "README.md").read_text().split("```python\n")[1:]
    code = [block.split("```")[0] for block in blocks]
    assert len(code) == 2
    assert [("trust_remote_code=True" in block, "import knotwork_export.timm_models" in block) for block in code] == [
        (False, classifier.custom_code),
        (classifier.custom_code, False),
    ]
    monkeypatch.chdir(classifier.folder.parent)
    Image.new("RGB", (40, 30), (200, 100, 50)).save("image.png")
    try:
        for block in code:
            exec(block, {})
    finally:
        Path("image.png").unlink()
    first, second = capsys.readouterr().out.split()
    assert first == second
    assert first in LABELS
