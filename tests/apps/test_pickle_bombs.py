"""A pickle that runs code when it is read, in the place of every file of a run and of its model: nothing unpickles it."""

from __future__ import annotations

import contextlib
import io
import pickle
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
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


@pytest.fixture(params=["finished"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of a finished run: of text where a test asks for no other."""
    return Path(shutil.copytree(request.getfixturevalue(request.param), tmp_path / "run"))


@dataclass(frozen=True)
class Kind:
    """The apps of a kind of data, and how to load a model of it."""

    search: Main
    train: Main
    export: Main
    dataset: Path
    load: Callable[..., Any]


@pytest.fixture
def kind(request: pytest.FixtureRequest, export_app: Main) -> Kind:
    """That of the run."""
    name, data, load = {
        "finished": ("gpt", "text_file", load_language_model),
        "finished_vit": ("vit", "images", load_classifier),
    }[request.node.callspec.params["run"]]
    search, train, dataset = map(request.getfixturevalue, (f"search_{name}", f"train_{name}", data))
    return Kind(search, train, export_app, dataset, load)


both_kinds = pytest.mark.parametrize("run", ["finished", "finished_vit"], indirect=True)


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


def use(kind: Kind, run: Path) -> Iterator[Callable[[], Any]]:
    """All that reads a run or its model, but for the apps. Each may fail, in its own way."""
    saved = SavedRun(run)
    yield from (lambda: saved.supernet, lambda: saved.packaging, lambda: saved.point(1), lambda: write_report(run))
    yield lambda: kind.load(run / "model")
    yield lambda: kind.load(run / "model", weights=False)
    for load in (load_language_model, load_classifier):
        if load is not kind.load:
            yield lambda load=load: load(run / "model")
    for space in ("gpt2-pretrained", "vit-pretrained"):
        yield lambda space=space: load_pretrained(load_space(space), str(run / "model"))


def start(kind: Kind, run: Path) -> Iterator[Callable[[], Any]]:
    """The apps that read a run or its model."""
    out = (str(run.parent / f"out{number}") for number in range(2))
    quick = ["--steps", "1", "--batch-size", "2", "--dataset", str(kind.dataset)]
    yield lambda: kind.export(["--run", str(run), "--output-dir", next(out)])
    yield lambda: kind.train(["--model", str(run / "model"), "--output-dir", next(out), *quick])
    yield lambda: kind.search(["--output-dir", str(run), "--resume"])


def files(run: Path) -> list[str]:
    """Every file of a run, by its path in it."""
    return sorted(str(path.relative_to(run)) for path in run.rglob("*") if path.is_file())


@pytest.mark.parametrize("run", ["finished", pytest.param("finished_vit", marks=pytest.mark.slow)], indirect=True)
def test_no_file_of_a_run_is_unpickled(run: Path, kind: Kind, marker: Path, capsys: pytest.CaptureFixture):
    names = files(run)
    assert len(names) > (15 if kind.load is load_language_model else 10)
    for at, name in enumerate([*names, *(f"model/{other}" for other in OTHERS), *(f"checkpoints/{other}" for other in OTHERS)]):
        whole = (run / name).read_bytes() if name in names else None
        (run / name).write_bytes(BOMBS[at % 2](marker))
        for reads in chain(use(kind, run), start(kind, run)):
            attempt(reads)
            assert not marker.exists(), f"{name} was unpickled"
        for left in run.parent.glob("out*"):
            shutil.rmtree(left)
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


@pytest.fixture
def interrupted(run: Path) -> Path:
    """The run as one that was stopped before anything was found."""
    (run / "architecture.json").unlink()
    return run


@pytest.mark.parametrize("run", ["finished", pytest.param("finished_vit", marks=pytest.mark.slow)], indirect=True)
def test_no_file_of_an_interrupted_run_is_unpickled(interrupted: Path, kind: Kind, marker: Path):
    kept = shutil.copytree(interrupted, interrupted.parent / "kept")
    assert kind.search(["--output-dir", str(interrupted), "--resume"]) == 0  # what the bombs are in the way of
    for at, name in enumerate(name for name in files(interrupted) if not name.startswith("model/")):
        shutil.rmtree(interrupted)
        shutil.copytree(kept, interrupted)
        (interrupted / name).write_bytes(BOMBS[at % 2](marker))
        assert kind.search(["--output-dir", str(interrupted), "--resume"]) in (0, 2)
        assert not marker.exists(), f"{name} was unpickled"


@both_kinds
def test_pickles_in_place_of_all_checkpoints_are_no_checkpoint(
    interrupted: Path, kind: Kind, marker: Path, capsys: pytest.CaptureFixture
):
    for step in (interrupted / "checkpoints").iterdir():
        (step / "tensors.safetensors").unlink()
        for other in OTHERS:
            (step / other).write_bytes(zipped(marker))
    assert kind.search(["--output-dir", str(interrupted), "--resume"]) == 2
    assert "no checkpoint to resume from" in capsys.readouterr().err
    assert not marker.exists()


@both_kinds
@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("weights", OTHERS)
def test_pickled_weights_in_place_of_safetensors_are_refused(
    run: Path, kind: Kind, marker: Path, weights: str, bomb: Callable[[Path], bytes]
):
    folder = run / "model"
    (folder / "model.safetensors").unlink()
    (folder / weights).write_bytes(bomb(marker))
    with pytest.raises(ValueError, match=r"has no model\.safetensors: weights are read from safetensors only"):
        kind.load(folder, trust_remote_code=True) if kind.load is load_language_model else kind.load(folder)
    for space in ("gpt2-pretrained", "vit-pretrained"):
        with pytest.raises(ValueError, match=r"has no model\.safetensors: weights are read from safetensors only"):
            load_pretrained(load_space(space), str(folder))
    assert not marker.exists()
