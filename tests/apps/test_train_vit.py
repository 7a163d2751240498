"""Training an image classifier end to end, on folders as a search leaves them and on plain ones."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from knotwork_export import Preprocessing, Provenance, export_classifier
from knotwork_search import RunFolder, TrainSettings, seeded
from knotwork_search._checkpoint import save_checkpoint
from knotwork_spaces import load_space
from knotwork_spaces.vit import ViTSpace, ViTSupernet
from knotwork_tasks.images._network import load_classifier
from knotwork_tasks.images._train_task import _renormalisation
from safetensors.torch import load_file, save_file

from .conftest import Main
from .trained import drop_record, files, losses, results, validation

DIGITS = tuple("0123456789")
PER_LAYER = {"embed_dim": 16, "depth": 2, "num_heads": [1, 2], "mlp_ratio": [2, 1]}
PREPROCESSING = Preprocessing(DIGITS, (1, 8, 8), (0.3,), (0.4,))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What training needs of a run: settings, space, supernet, preprocessing, what was found, and its export."""
    folder = RunFolder(tmp_path_factory.mktemp("searched") / "run")
    space = ViTSpace.build(
        embed_dim=[8, 16],
        depth=[1, 2],
        num_heads=[1, 2],
        mlp_ratio=[1, 2],
        per_layer=["num_heads", "mlp_ratio"],
        image_size=8,
        patch_size=4,
        channels=1,
        num_classes=10,
        initializer_range=0.1,
    )
    with seeded("supernet"):
        supernet = ViTSupernet(space).eval()
    architecture = space.architecture(PER_LAYER)
    config = {"dataset": "digits", "batch_size": 32, "learning_rate": 0.01, "max_steps": 12, "augment": "none"}
    with folder.create(config, space.as_dict()):
        pass
    (folder.path / "preprocessing.json").write_text(json.dumps(asdict(PREPROCESSING)))
    save_checkpoint(folder.checkpoints, 1, {f"supernet.{n}": p for n, p in supernet.named_parameters()}, {"step": 1})
    folder.write_architecture({"space": space.as_dict(), "architecture": architecture.as_dict(), "strategy": "drnas"})
    export_classifier(
        supernet.extract(architecture),
        folder.model,
        timm_model=space.timm_model(architecture),
        preprocessing=PREPROCESSING,
        provenance=Provenance(architecture, strategy="drnas", metrics={"loss": 9.5}),
        verify=False,
    )
    return folder.path


def plain_vit(folder: Path, labels: tuple[str, ...] = DIGITS, size: int = 8, mean: float = 0.5) -> Path:
    """A stock timm ViT of its own normalisation."""
    arguments: dict[str, Any] = {"img_size": size, "patch_size": 4, "in_chans": 1, "embed_dim": 12, "depth": 1, "num_heads": 2}
    with seeded("plain", str(folder.name)):
        model = timm.create_model("vit_tiny_patch16_224", num_classes=len(labels), **arguments)
    preprocessing = Preprocessing(labels, (1, size, size), (mean,), (0.5,))
    described = "vit_tiny_patch16_224", arguments
    return export_classifier(model, folder, timm_model=described, preprocessing=preprocessing, verify=False)


def in_precision(folder: Path, dtype: torch.dtype) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file({name: tensor.to(dtype) for name, tensor in weights.items()}, folder / "model.safetensors")


@pytest.mark.verified
def test_inherited_weights_are_trained_with_a_teacher(train_vit: Main, run: Path, tmp_path: Path):
    """A per-layer model of a run, all settings from the run, with a plain teacher that normalises images otherwise."""
    out, before, teacher = tmp_path / "out", files(run), plain_vit(tmp_path / "teacher")
    flags = ["--model", str(run / "model"), "--output-dir", str(out), "--teacher", str(teacher), "--steps", "60"]
    assert train_vit([*flags, "--distillation-weight", "0.1"]) == 0
    assert files(run) == before
    assert {path.name for path in out.iterdir()} == {"config.yaml", "metrics.jsonl", "checkpoints", "model", "training.json"}
    assert {path.name for path in (out / "model").iterdir()} == {path.name for path in (run / "model").iterdir()}
    assert (out / "model" / "config.json").read_text() == (run / "model" / "config.json").read_text()
    first, last = validation(out)
    assert last["loss"] < first["loss"] - 0.3
    assert last["top1"] > first["top1"]
    told = results(out / "model")
    assert told == {
        name: [f"{float(f'{figures[name]:.6g}'):.6g}" for figures in (first, last)] for name in ("loss", "top1", "top5")
    }
    card = (out / "model" / "README.md").read_text()
    for row in ("| strategy | drnas |", "| steps | 60 |", f"| teacher | {teacher} |", "| batch size | 32 |"):
        assert row in card
    stored = load_file(out / "model" / "model.safetensors")
    model = timm.create_model(f"local-dir:{out / 'model'}", pretrained=True)
    assert all(stored[name].equal(tensor) for name, tensor in model.state_dict().items())


def test_from_an_architecture_file(train_vit: Main, run: Path, tmp_path: Path):
    """The supernet's weights are those of the exported folder; the space's own ones are drawn for a training from scratch."""
    figures = {}
    for init, model in (("inherit", "model"), ("inherit", "architecture.json"), ("scratch", "architecture.json")):
        out = tmp_path / f"{init}-{model}"
        flags = ["--model", str(run / model), "--output-dir", str(out), "--init", init, "--steps", "1"]
        assert train_vit(flags) == 0
        figures[init, model] = [figure["loss"] for figure in validation(out)]
    assert figures["inherit", "model"] == figures["inherit", "architecture.json"]
    assert figures["scratch", "architecture.json"] != figures["inherit", "model"]
    config = json.loads((tmp_path / "scratch-architecture.json" / "model" / "config.json").read_text())
    assert config == json.loads((run / "model" / "config.json").read_text())


def test_scratch_is_drawn_by_the_seed(run: Path):
    drawn = []
    for seed in (0, 0, 1):
        with seeded("initial weights", seed):
            drawn.append(load_classifier(run / "model", weights=False).model.state_dict()["head.weight"])
    assert drawn[0].equal(drawn[1])
    assert not drawn[0].equal(drawn[2])


def test_a_resumed_training_ends_as_if_it_had_not_been_stopped(train_vit: Main, run: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("knotwork_tasks.training._train.TrainSettings", partial(TrainSettings, checkpoint_every=2))
    out = tmp_path / "out"
    flags = ["--model", str(run / "model"), "--output-dir", str(out), "--augment", "timm", "--steps", "4"]
    assert train_vit(flags) == 0
    whole = files(out)
    drop_record(out)
    assert train_vit(["--output-dir", str(out), "--resume"]) == 0
    again = files(out)
    for name in ("model/model.safetensors", "model/README.md", "training.json"):
        assert again[name] == whole[name]
    assert len(losses(out)) == 4


def test_a_plain_timm_folder_that_names_no_classes(train_vit: Main, tmp_path: Path):
    """As timm's own ``save_for_hf`` writes it, in half precision: the classes' names come from the data."""
    folder, out = plain_vit(tmp_path / "plain"), tmp_path / "out"
    config = json.loads((folder / "config.json").read_text())
    del config["label_names"]
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "README.md").unlink()
    in_precision(folder, torch.bfloat16)
    flags = ["--steps", "20", "--learning-rate", "0.01", "--augment", "none"]
    assert train_vit(["--model", str(folder), "--output-dir", str(out), *flags]) == 0
    first, last = validation(out)
    assert last["loss"] < first["loss"]
    written = json.loads((out / "model" / "config.json").read_text())
    assert written["label_names"] == list(DIGITS)
    assert written["architecture"] == "vit_tiny_patch16_224"
    assert results(out / "model")["loss"][1] == f"{last['loss']:.6g}"
    assert {tensor.dtype for tensor in load_file(out / "model" / "model.safetensors").values()} == {torch.bfloat16}


def test_precision_is_kept(tmp_path: Path):
    folder = plain_vit(tmp_path / "plain")
    for dtype in (torch.bfloat16, torch.float64):
        in_precision(folder, dtype)
        assert {parameter.dtype for parameter in load_classifier(folder).model.parameters()} == {dtype}
        assert torch.get_default_dtype() == torch.float32


def test_a_teacher_sees_images_normalised_in_its_own_way():
    given = Preprocessing(DIGITS, (2, 8, 8), (0.3, 0.1), (0.4, 0.2))
    wanted = Preprocessing(DIGITS, (2, 8, 8), (0.5, 0.2), (0.25, 0.3))
    raw = torch.rand(2, 8, 8)

    def normalised(preprocessing: Preprocessing) -> torch.Tensor:
        mean, std = (torch.tensor(values)[:, None, None] for values in (preprocessing.mean, preprocessing.std))
        return (raw - mean) / std

    factor, shift = _renormalisation(given, wanted)
    torch.testing.assert_close(normalised(given) * factor + shift, normalised(wanted))
    factor, shift = _renormalisation(given, given)
    assert (normalised(given) * factor + shift).equal(normalised(given))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Folders that do not fit, by a short name."""
    room = tmp_path_factory.mktemp("misfits")
    plain_vit(room / "NINE", DIGITS[:9])
    plain_vit(room / "NAMED", tuple("abcdefghij"))
    plain_vit(room / "LARGE", size=12)
    pickled = plain_vit(room / "PICKLED")
    torch.save(load_file(pickled / "model.safetensors"), pickled / "pytorch_model.bin")
    (pickled / "model.safetensors").unlink()
    broken = plain_vit(room / "BROKEN")
    (broken / "model.safetensors").write_bytes(b"cut short")
    gpt = room / "GPT"
    gpt.mkdir()
    (gpt / "config.json").write_text('{"model_type": "gpt2"}')
    shutil.copy(room / "NINE" / "model.safetensors", gpt)
    return {path.name: str(path) for path in room.iterdir()}


CASES = [
    (["--model", "GPT"], "is not in timm's format: its config.json names the architecture None"),
    (["--model", "PICKLED"], "weights are read from safetensors only"),
    (["--model", "BROKEN"], "model.safetensors cannot be read: "),
    (["--model", "NINE"], "their names and order must be the same"),
    (["--model", "NAMED"], "the classes of digits are ['0', '1', '2', '3', '4'] and so on, but the model's ['a'"),
    (["--model", "MODEL", "--augment", "magic"], "unknown augment 'magic'"),
    (["--model", "MODEL", "--label-smoothing", "1"], "label_smoothing is 1.0"),
    (["--model", "MODEL", "--teacher", "NINE"], "has 9 classes"),
    (["--model", "MODEL", "--teacher", "NAMED"], "both must have the same in the same order"),
    (["--model", "MODEL", "--teacher", "LARGE"], "takes images of (1, 12, 12), the model of (1, 8, 8)"),
    (["--model", "MODEL", "--teacher", "nowhere"], "--teacher nowhere holds no model"),
]


@pytest.mark.parametrize(("flags", "message"), CASES, ids=["-".join(flags) for flags, _ in CASES])
def test_bad_flags(train_vit: Main, run: Path, folders: dict[str, str], tmp_path: Path, capsys, flags: list[str], message: str):
    known = {**folders, "MODEL": str(run / "model")}
    assert train_vit(["--output-dir", str(tmp_path / "out"), *(known.get(flag, flag) for flag in flags)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("train_vit: error: ")
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_cells_are_refused(train_vit: Main, tmp_path: Path, capsys):
    space: Any = load_space("toy-cell").build(num_classes=10, channels=1, image_size=8)
    record = {"space": space.as_dict(), "architecture": space.smallest.as_dict()}
    (tmp_path / "cells.json").write_text(json.dumps(record))
    flags = ["--model", str(tmp_path / "cells.json"), "--output-dir", str(tmp_path / "out"), "--init", "scratch"]
    assert train_vit(flags) == 2
    assert "is of the family 'toy-cell': only those of the family 'vit' are trained" in capsys.readouterr().err
