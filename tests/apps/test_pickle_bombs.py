"""A pickle that runs code when it is read, in the place of every file of a run and of its model: nothing unpickles it."""

from __future__ import annotations

import contextlib
import io
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from knotwork_search.report import write_report
from knotwork_spaces import load_pretrained, load_space
from knotwork_tasks import SavedRun
from knotwork_tasks.images._network import load_classifier
from knotwork_tasks.text._network import load_language_model

from .conftest import Main

OTHERS = (
    "pytorch_model.bin",
    "training_args.bin",
    "optimizer.bin",
    "scheduler.bin",
    "random_states_0.pkl",
    "adapter_model.bin",
)
"""What pickles are called where transformers and accelerate write them."""


class Bomb:
    """Leaves a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def bare(marker: Path) -> bytes:
    return pickle.dumps(Bomb(marker))


def zipped(marker: Path) -> bytes:
    """As torch writes it."""
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(1), "b": Bomb(marker)}, buffer)
    return buffer.getvalue()


BOMBS: list[Callable[[Path], bytes]] = [bare, zipped]


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "exploded"


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_explodes_where_it_is_unpickled(marker: Path, bomb: Callable[[Path], bytes]):
    content = io.BytesIO(bomb(marker))
    if bomb is bare:
        pickle.load(content)
    else:
        torch.load(content, weights_only=False)
    assert marker.exists()


def use(apps: dict[str, Main], run: Path, text_file: Path) -> Iterator[Callable[[], Any]]:
    """All that reads a run or its model. Each may fail, in its own way."""
    room = run.parent
    out = iter(range(100))
    saved = SavedRun(run)
    yield from (lambda: saved.supernet, lambda: saved.packaging, lambda: saved.point(1), lambda: write_report(run))
    yield lambda: load_language_model(run / "model")
    yield lambda: load_language_model(run / "model", weights=False)
    yield lambda: load_classifier(run / "model")
    for space in ("gpt2-pretrained", "vit-pretrained"):
        yield lambda space=space: load_pretrained(load_space(space), str(run / "model"))
    quick = ["--steps", "1", "--batch-size", "2", "--dataset", str(text_file)]
    yield lambda: apps["export"](["--run", str(run), "--output-dir", str(room / f"out{next(out)}")])
    yield lambda: apps["train_gpt"](["--model", str(run / "model"), "--output-dir", str(room / f"out{next(out)}"), *quick])
    yield lambda: apps["search_gpt"](["--output-dir", str(run), "--resume"])


def files(run: Path) -> list[str]:
    """Every file of a run, by its path in it."""
    return sorted(str(path.relative_to(run)) for path in run.rglob("*") if path.is_file())


def test_no_file_of_a_run_is_unpickled(
    run: Path, marker: Path, text_file: Path, export_app: Main, train_gpt: Main, search_gpt: Main, capsys: pytest.CaptureFixture
):
    apps = {"export": export_app, "train_gpt": train_gpt, "search_gpt": search_gpt}
    names = files(run)
    assert len(names) > 15
    for at, name in enumerate([*names, *(f"model/{other}" for other in OTHERS), *(f"checkpoints/{other}" for other in OTHERS)]):
        whole = (run / name).read_bytes() if name in names else None
        (run / name).write_bytes(BOMBS[at % 2](marker))
        for reads in use(apps, run, text_file):
            attempt(reads)
            assert not marker.exists(), f"{name} was unpickled"
        if whole is None:
            (run / name).unlink()
        else:
            (run / name).write_bytes(whole)
    assert "Traceback" not in capsys.readouterr().err


def attempt(reads: Callable[[], Any]) -> None:
    """Whatever comes of it, it is what an app's user may see."""
    with contextlib.suppress(ValueError, OSError):
        code = reads()
        assert not isinstance(code, int) or code in (0, 2)


def test_an_interrupted_run_is_resumed_without_unpickling(
    run: Path, marker: Path, search_gpt: Main, capsys: pytest.CaptureFixture
):
    """Every file that resuming reads, one at a time, and pickles in place of all safetensors."""
    (run / "architecture.json").unlink()
    kept = shutil.copytree(run, run.parent / "kept")
    for at, name in enumerate(name for name in files(run) if not name.startswith("model/")):
        shutil.rmtree(run)
        shutil.copytree(kept, run)
        (run / name).write_bytes(BOMBS[at % 2](marker))
        assert search_gpt(["--output-dir", str(run), "--resume"]) in (0, 2)
        assert not marker.exists(), f"{name} was unpickled"
    shutil.rmtree(run)
    shutil.copytree(kept, run)
    for step in (run / "checkpoints").iterdir():
        (step / "tensors.safetensors").unlink()
        for other in OTHERS:
            (step / other).write_bytes(zipped(marker))
    capsys.readouterr()
    assert search_gpt(["--output-dir", str(run), "--resume"]) == 2
    assert "no checkpoint to resume from" in capsys.readouterr().err
    assert not marker.exists()


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("weights", OTHERS)
def test_pickled_weights_in_place_of_safetensors_are_refused(
    run: Path, marker: Path, weights: str, bomb: Callable[[Path], bytes]
):
    folder = run / "model"
    (folder / "model.safetensors").unlink()
    (folder / weights).write_bytes(bomb(marker))
    with pytest.raises(ValueError, match=r"has no model\.safetensors: weights are read from safetensors only"):
        load_language_model(folder, trust_remote_code=True)
    with pytest.raises(ValueError, match=r"has no model\.safetensors: weights are read from safetensors only"):
        load_pretrained(load_space("gpt2-pretrained"), str(folder))
    with pytest.raises(ValueError, match=r"has no model\.safetensors: weights are read from safetensors only"):
        load_pretrained(load_space("vit-pretrained"), str(folder))
    assert not marker.exists()
