"""The image app end to end, on small images and a space of seconds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import timm
import torch
import yaml
from PIL import Image
from transformers import AutoModelForImageClassification

from .conftest import Main


def test_a_run_leaves_the_whole_folder(finished_vit: Path):
    names = {path.name for path in finished_vit.iterdir()}
    assert names == {
        "config.yaml", "space.json", "metrics.jsonl", "checkpoints", "architecture.json", "model", "report.html",
        "preprocessing.json",
    }  # fmt: skip
    outcome = json.loads((finished_vit / "architecture.json").read_text())
    found = outcome["comparison"][0]
    assert 0 <= found["metrics"]["top1"] <= found["metrics"]["top5"] == 1  # three classes
    assert found["cost"]["flops"] == 2 * found["cost"]["macs"]
    assert len(outcome["samples"]) == 3
    assert "images a second" in (finished_vit / "report.html").read_text()


def test_digits_leave_as_a_stock_timm_model(search_vit: Main, tiny_vit: list[str], tmp_path: Path, capsys):
    run = tmp_path / "run"
    assert search_vit([*tiny_vit, "--output-dir", str(run)]) == 0
    assert f'timm.create_model("local-dir:{run / "model"}", pretrained=True)' in capsys.readouterr().out
    model = timm.create_model(f"local-dir:{run / 'model'}", pretrained=True).eval()
    outcome = json.loads((run / "architecture.json").read_text())
    assert sum(p.numel() for p in model.parameters()) == outcome["cost"]["params"]
    assert 0.85 * outcome["budget"]["params"] <= outcome["cost"]["params"] <= outcome["budget"]["params"]
    wrapped = AutoModelForImageClassification.from_pretrained(run / "model")
    image = torch.randn(1, 1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(wrapped(pixel_values=image).logits, model(image))
    assert wrapped.config.id2label[7] == "7"


@pytest.mark.parametrize("strategy", ["gdas", pytest.param("sandwich-re", marks=pytest.mark.slow)])
def test_strategies_of_both_kinds_search_images(
    search_vit: Main, tiny_vit: list[str], images: Path, tmp_path: Path, strategy: str
):
    run = tmp_path / "run"
    assert search_vit([*tiny_vit, "--output-dir", str(run), "--dataset", str(images), "--strategy", strategy]) == 0
    outcome = json.loads((run / "architecture.json").read_text())
    assert outcome["cost"]["params"] <= outcome["budget"]["params"]


@pytest.mark.slow
def test_a_timm_model_as_the_base(search_vit: Main, tiny_vit: list[str], images: Path, tmp_path: Path):
    run = tmp_path / "run"
    base = "vit_little_patch16_reg1_gap_256"
    assert search_vit([*tiny_vit, "--output-dir", str(run), "--dataset", str(images), "--model", base]) == 0
    config = json.loads((run / "model" / "config.json").read_text())
    assert config["architecture"] == base
    assert timm.create_model(f"local-dir:{run / 'model'}", pretrained=True).num_reg_tokens == 1


@pytest.mark.slow
def test_a_config_repeats_a_run(search_vit: Main, tiny_vit: list[str], images: Path, tmp_path: Path):
    first, second = tmp_path / "first", tmp_path / "second"
    flags = ["--dataset", str(images), "--augment", "timm", "--seed", "3"]
    assert search_vit([*tiny_vit, "--output-dir", str(first), *flags]) == 0
    assert search_vit(["--config", str(first / "config.yaml"), "--output-dir", str(second)]) == 0
    one, two = (json.loads((run / "architecture.json").read_text()) for run in (first, second))
    assert one == two


def test_the_run_is_exported_again(export_app: Main, finished_vit: Path, tmp_path: Path):
    assert export_app(["--run", str(finished_vit), "--output-dir", str(tmp_path / "model")]) == 0
    first, again = finished_vit / "model" / "model.safetensors", tmp_path / "model" / "model.safetensors"
    assert first.read_bytes() == again.read_bytes()


def test_any_other_architecture_of_the_run(export_app: Main, finished_vit: Path, tmp_path: Path):
    wanted = {"embed_dim": 12, "depth": 1, "num_heads": [2], "mlp_ratio": [2]}
    (tmp_path / "architecture.json").write_text(json.dumps(wanted))
    flags = ["--architecture", str(tmp_path / "architecture.json"), "--output-dir", str(tmp_path / "model")]
    assert export_app(["--run", str(finished_vit), *flags]) == 0
    model = timm.create_model(f"local-dir:{tmp_path / 'model'}", pretrained=True)
    assert model.embed_dim == 12
    assert [name for name, _ in model.named_modules() if name.startswith("blocks.") and name.count(".") == 1] == ["blocks.0"]


def test_settings_and_labels_are_kept(finished_vit: Path):
    assert yaml.safe_load((finished_vit / "config.yaml").read_text())["augment"] == "timm"
    assert json.loads((finished_vit / "preprocessing.json").read_text())["labels"] == ["blue", "green", "red"]


def _folder(folder: Path, classes: dict[str, int], size: int = 8) -> Path:
    for name, count in classes.items():
        (folder / "train" / name).mkdir(parents=True)
        for number in range(count):
            Image.new("L", (size, size), color=number).save(folder / "train" / name / f"{number}.png")
    return folder


def _empty_class(folder: Path) -> list[str]:
    return ["--dataset", str(_folder(folder, {"cat": 9, "dog": 0}))]


def _odd_size(folder: Path) -> list[str]:
    return ["--dataset", str(_folder(folder, {"cat": 20, "dog": 20})), "--image-size", "15", "--patch-size", "4"]


def _prime_size(folder: Path) -> list[str]:
    return ["--dataset", str(_folder(folder, {"cat": 20, "dog": 20}, size=31))]


def _no_images(folder: Path) -> list[str]:
    (folder / "train" / "cat").mkdir(parents=True)
    (folder / "train" / "cat" / "a.png").write_bytes(b"no image")
    return ["--dataset", str(folder)]


BAD = [
    (_empty_class, "dog"),
    (_odd_size, "image_size 15 is not a multiple of patch_size 4"),
    (_prime_size, "no patch divides 31 pixels"),
    (_no_images, "cat"),
    (lambda _: ["--model", "resnet18"], "resnet18 is a ResNet, not a VisionTransformer"),
    (lambda _: ["--model", "vit_base_patch16_siglip_224"], "pooling other than"),
    (lambda _: ["--model", "vit_imaginary"], "unknown timm model 'vit_imaginary'"),
    (lambda _: ["--space", "gpt-nano"], "is of the family 'gpt2'"),
    (lambda _: ["--dataset", "nowhere/at/all/of/it"], "nowhere/at/all/of/it"),
    (lambda _: ["--augment", "magic"], "unknown augment 'magic': known are ['none', 'basic', 'timm']"),
    (lambda _: ["--label-smoothing", "1.5"], "label_smoothing is 1.5"),
    (lambda _: ["--max-params", "10"], "the budget of 10 params is below the smallest architecture, which has"),
]


@pytest.mark.parametrize(("prepare", "message"), BAD)
def test_bad_input(search_vit: Main, tiny_vit: list[str], tmp_path: Path, capsys, prepare, message: str):
    run = tmp_path / "run"
    code = search_vit([*tiny_vit, "--output-dir", str(run), *prepare(tmp_path / "data")])
    error = capsys.readouterr().err
    assert code == 2
    assert error.startswith("search_vit: error: ")
    assert message in error
    assert error.count("\n") == 1
    assert not run.exists()


@pytest.mark.slow
def test_a_broken_image_is_skipped_and_counted(search_vit: Main, tiny_vit: list[str], tmp_path: Path, capsys):
    data = _folder(tmp_path / "data", {"cat": 20, "dog": 20})
    (data / "train" / "cat" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    assert search_vit([*tiny_vit, "--output-dir", str(tmp_path / "run"), "--dataset", str(data)]) == 0
    assert "1 image could not be read and is left out" in capsys.readouterr().err
