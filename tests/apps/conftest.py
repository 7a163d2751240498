"""Apps as functions, a text and a space small enough to search in seconds, and one finished run of them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image

APPS = Path(__file__).parents[2] / "apps"
Main = Callable[[Sequence[str]], int]

SPACE = """\
family: gpt2
embed_dim: [8, 12, 16]
depth: [1, 2]
num_heads: [1, 2]
mlp_ratio: [1, 2, 4]
block_size: 16
recipe: {tokenizer: "train:260", max_steps: 6, batch_size: 4, learning_rate: 0.01}
"""

VIT_SPACE = """\
family: vit
embed_dim: [8, 12, 16]
depth: [1, 2]
num_heads: [1, 2]
mlp_ratio: [1, 2, 4]
initializer_range: 0.1
recipe: {max_steps: 6, batch_size: 4, learning_rate: 0.01}
"""


def load_app(name: str) -> Main:
    """The ``main`` of an app, which runs as a folder."""
    spec = importlib.util.spec_from_file_location(f"app_{name}", APPS / name / "__main__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.fixture(autouse=True)
def fresh_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave an export's fresh process, which takes many seconds, to the tests of the package, to those marked ``verified``, and
    to the runs that tests share, which are made before this."""
    if request.node.get_closest_marker("verified") is None:
        monkeypatch.setattr("knotwork_export._export.compare", lambda *_: None)


@pytest.fixture(scope="session")
def search_gpt() -> Main:
    return load_app("search_gpt")


@pytest.fixture(scope="session")
def search_vit() -> Main:
    return load_app("search_vit")


@pytest.fixture(scope="session")
def export_app() -> Main:
    return load_app("export")


@pytest.fixture(scope="session")
def report_app() -> Main:
    return load_app("report")


@pytest.fixture(scope="session")
def train_gpt() -> Main:
    return load_app("train_gpt")


@pytest.fixture(scope="session")
def train_vit() -> Main:
    return load_app("train_vit")


@pytest.fixture(scope="session")
def space_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("space") / "tiny.yaml"
    path.write_text(SPACE)
    return path


@pytest.fixture(scope="session")
def text_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "tale.txt"
    path.write_text("".join(f"line {i}: the cat sat on mat number {i * 7 % 13}.\n" for i in range(400)))
    return path


@pytest.fixture(scope="session")
def tiny(space_file: Path, text_file: Path) -> list[str]:
    """Flags of a search that takes seconds."""
    return ["--space", str(space_file), "--dataset", str(text_file), "--candidates", "4", "--finetune-steps", "2"]


@pytest.fixture(scope="session")
def finished(search_gpt: Main, tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with a front, per layer so that the model carries its own code."""
    run = tmp_path_factory.mktemp("finished") / "run"
    flags = ["--granularity", "per-layer", "--max-params", "none", "--pareto", "params,loss"]
    assert search_gpt([*tiny, "--output-dir", str(run), *flags]) == 0
    return run


@pytest.fixture(scope="session")
def vit_space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vit-space") / "tiny.yaml"
    path.write_text(VIT_SPACE)
    return path


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Colour images whose class is the channel that is bright."""
    folder = tmp_path_factory.mktemp("images") / "data"
    for split, count in (("train", 20), ("validation", 4)):
        for channel, name in enumerate(("red", "green", "blue")):
            for number in range(count):
                pixels = torch.randint(0, 90, (12, 12, 3), generator=torch.Generator().manual_seed(number))
                pixels[..., channel] += 120
                path = folder / split / name / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels.to(torch.uint8).numpy()).save(path)
    return folder


@pytest.fixture(scope="session")
def tiny_vit(vit_space: Path) -> list[str]:
    return ["--space", str(vit_space), "--candidates", "4", "--finetune-steps", "2"]


@pytest.fixture(scope="session")
def finished_vit(search_vit: Main, tiny_vit: list[str], images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on an image folder, with heads and MLPs of their own in every layer."""
    run = tmp_path_factory.mktemp("finished-vit") / "run"
    flags = ["--dataset", str(images), "--granularity", "per-layer", "--max-params", "none", "--augment", "timm"]
    assert search_vit([*tiny_vit, "--output-dir", str(run), *flags]) == 0
    return run
