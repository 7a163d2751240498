"""What leaves and what comes in: a saved network, its statistics, and the published benchmark."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from knotwork_spaces.cells import (
    ToyCellNetwork,
    ToyCellSpace,
    cell_cost,
    load_cells,
    plain_metrics,
    plain_model,
    read_benchmark,
    recalibrate,
    save_cells,
    toy_cell_network,
)
from torch import nn

from .cells_cases import cells_supernet, images, tiny_cells, with_batch_statistics

HEADER = "normal_0_1,normal_0_2,normal_1_2,reduce_0_1,reduce_0_2,reduce_1_2,test_accuracy,train_accuracy,parameters"
SAME = "sep_conv_3x3," * 6 + "90.88,96.9217,198826.0"
OTHER = "dil_conv_5x5,dil_conv_5x5,dil_conv_5x5,sep_conv_5x5,dil_conv_3x3,dil_conv_3x3,90.44,95.2117,183882.0"


def recalibrated(dtype: torch.dtype = torch.float32) -> ToyCellNetwork:
    space = tiny_cells(dropout=0.3)
    model = cells_supernet(space, dtype).extract(space.largest)
    recalibrate(model, [{"image": images(space, dtype, batch=8, seed=seed)} for seed in range(3)])
    return model


def test_recalibration_averages_the_batches_statistics():
    space = tiny_cells()
    model = plain_model(space, space.smallest).train()
    norm = model.cells[0].preprocess["norm"]  # type: ignore[index,union-attr]
    batches = [{"image": images(space, torch.float32, seed=seed)} for seed in range(2)]
    inputs = [model.cells[0].preprocess["conv"](batch["image"].relu()) for batch in batches]  # type: ignore[index,union-attr,operator]
    recalibrate(model, batches)
    expected = torch.stack([x.var((0, 2, 3)) for x in inputs]).mean(0)
    torch.testing.assert_close(norm.running_var, expected)  # type: ignore[union-attr]
    assert model.training
    assert all(module.momentum == 0.1 and module.training for module in model.modules() if isinstance(module, nn.BatchNorm2d))


def test_recalibrated_on_one_batch_it_gives_nearly_what_the_supernet_gives_for_it():
    space = tiny_cells()
    supernet, image = cells_supernet(space), images(space, batch=64)
    model = supernet.extract(space.largest)
    recalibrate(model, [{"image": image}])
    label = torch.arange(64) % 3
    expected = supernet.metrics({"image": image, "label": label}, space.largest)
    found = plain_metrics(model, {"image": image, "label": label})
    assert found.keys() == expected.keys() == {"loss", "top1", "top5"}
    # Running variances are unbiased, a batch's own are not.
    assert found["loss"].item() == pytest.approx(expected["loss"].item(), rel=0.02)
    same = plain_metrics(with_batch_statistics(model), {"image": image, "label": label})["loss"]
    assert same.item() == pytest.approx(expected["loss"].item(), rel=1e-12)


def test_recalibration_needs_a_batch():
    with pytest.raises(ValueError, match="there are no batches to recalibrate on"):
        recalibrate(recalibrated(), [])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_saved_network_loads_with_the_same_logits(tmp_path: Path, dtype: torch.dtype):
    model, image = recalibrated(dtype), images(tiny_cells(), dtype)
    loaded = load_cells(save_cells(model, tmp_path / "model"))
    assert torch.equal(loaded(image), model(image))
    assert loaded.config == model.config
    assert not loaded.training


def test_it_loads_where_knotwork_cannot_be_imported(tmp_path: Path):
    """Invariant 4: bit for bit, from the folder's own file."""
    model, image = recalibrated(), images(tiny_cells(), torch.float32)
    folder = save_cells(model, tmp_path / "model")
    torch.save({"image": image, "logits": model(image).detach()}, tmp_path / "expected.pt")
    code = f"""
import sys, torch
torch.set_num_threads({torch.get_num_threads()})  # more would sum in another order
sys.modules.update(dict.fromkeys(["knotwork_ops", "knotwork_spaces", "timm", "transformers"]))
from toy_cell_network import load_cells
expected = torch.load({str(tmp_path / "expected.pt")!r}, weights_only=True)
assert torch.equal(load_cells(".")(expected["image"]), expected["logits"])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_file_travels_alone():
    tree = ast.parse(Path(toy_cell_network.__file__).read_text(encoding="utf-8"))
    roots: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            roots |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            roots.add((node.module or "").split(".")[0])
    assert roots <= sys.stdlib_module_names | {"torch", "safetensors"}


def test_a_network_without_statistics_and_a_used_folder_are_refused(tmp_path: Path):
    space = tiny_cells()
    with pytest.raises(ValueError, match="have no statistics yet: recalibrate it"):
        save_cells(plain_model(space, space.smallest), tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="is not empty: save a model to a new folder"):
        save_cells(recalibrated(), tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"architecture": 3}', '{"architecture": {}}', '{"width": 8}'])
def test_a_folder_that_holds_no_network_is_refused(tmp_path: Path, text: str):
    folder = save_cells(recalibrated(), tmp_path / "model")
    (folder / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"does not hold a toy-cell network|an architecture names one of"):
        load_cells(folder)


def test_damaged_or_other_weights_are_refused(tmp_path: Path):
    folder = save_cells(recalibrated(), tmp_path / "model")
    space = tiny_cells()
    other = save_cells(trained(plain_model(space, space.smallest)), tmp_path / "other")
    for content in ((other / "model.safetensors").read_bytes(), b"nothing"):
        (folder / "model.safetensors").write_bytes(content)
        with pytest.raises(ValueError, match="does not hold a toy-cell network"):
            load_cells(folder)


def trained(model: Any) -> Any:
    recalibrate(model, [{"image": images(tiny_cells(), torch.float32)}])
    return model


def benchmark(folder: Path, *lines: str) -> Path:
    file = folder / "benchmark.csv"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def test_a_benchmark_is_read_by_architecture(tmp_path: Path):
    rows = read_benchmark(benchmark(tmp_path, HEADER, SAME, OTHER))
    space = ToyCellSpace.build()
    names = dict(zip(space.choice_names, OTHER.split(","), strict=False))
    other = space.architecture(names)
    assert list(rows) == [space.architecture(dict.fromkeys(names, "sep_conv_3x3")), other]
    # The file counts 183,882, which is what the net with the cells exchanged has.
    assert rows[other] == (90.44, 95.2117, 187_530)
    assert cell_cost(space, other)["params"].item() == 187_530


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "has the columns None: a toy-cell benchmark has"),
        ([HEADER.replace("parameters", "size"), SAME], "has the columns .*'size'"),
        ([HEADER, SAME.replace("sep_conv_3x3", "skip", 1)], "line 2: choice 'normal_0_1' cannot be 'skip': allowed are"),
        ([HEADER, OTHER, SAME.replace("90.88", "high")], "line 3: test_accuracy is 'high': it must be a percentage"),
        ([HEADER, SAME.replace("96.9217", "nan")], "line 2: train_accuracy is 'nan': it must be a percentage"),
        ([HEADER, SAME.replace("90.88", "190.88")], "line 2: test_accuracy is '190.88': it must be a percentage"),
        ([HEADER, SAME.replace("198826.0", "-1")], "line 2: parameters is '-1': it must be a count"),
        ([HEADER, SAME.replace("198826.0", "198827")], "line 2: parameters are 198,827, but .* exchanged there are 198,826"),
        ([HEADER, SAME.rsplit(",", 1)[0]], "line 2: a row has 9 entries"),
        ([HEADER, SAME + ",1"], "line 2: a row has 9 entries"),
        ([HEADER, SAME, SAME], "line 3: the architecture normal_0_1 sep_conv_3x3, .* stands twice"),
    ],
    ids=range(11),
)
def test_what_is_no_benchmark_is_refused(tmp_path: Path, lines: list[str], message: str):
    with pytest.raises(ValueError, match=message):
        read_benchmark(benchmark(tmp_path, *lines) if lines else empty(tmp_path))


def empty(folder: Path) -> Path:
    file = folder / "empty.csv"
    file.touch()
    return file
