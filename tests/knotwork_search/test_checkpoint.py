from pathlib import Path

import pytest
import torch
from knotwork_search import load_checkpoint
from knotwork_search._checkpoint import checkpoints, load_optimiser, optimiser_tensors, save_checkpoint
from knotwork_search._optimisers import architecture_optimiser, weight_optimiser

from .toy import PER_LAYER, Toy, one_batch, same, weights_of

TENSORS = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor(3), "c": torch.tensor([], dtype=torch.bfloat16)}
STATE = {"step": 3, "multipliers": {"params": 0.25}, "scaler": None}


def names(folder: Path) -> list[str]:
    return [path.name for path in checkpoints(folder)]


def test_round_trip(tmp_path):
    path = save_checkpoint(tmp_path / "checkpoints", 3, TENSORS, STATE)
    assert path.name == "step-00000003"
    tensors, state = load_checkpoint(tmp_path / "checkpoints")
    assert same(tensors, TENSORS)
    assert {name: tensor.dtype for name, tensor in tensors.items()} == {name: t.dtype for name, t in TENSORS.items()}
    assert state == {**STATE, "flops": 0.0, "skipped": 0}


def test_a_view_is_saved_as_it_looks(tmp_path):
    transposed = TENSORS["a"].t().requires_grad_()
    save_checkpoint(tmp_path, 1, {"t": transposed}, STATE)
    assert torch.equal(load_checkpoint(tmp_path)[0]["t"], transposed)


def test_the_last_two_are_kept_and_hold_no_code(tmp_path):
    for step in (2, 9, 10, 100):
        save_checkpoint(tmp_path, step, TENSORS, {"step": step})
    assert names(tmp_path) == ["step-00000010", "step-00000100"]
    assert load_checkpoint(tmp_path)[1]["step"] == 100
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 4
    assert {path.suffix for path in files} == {".safetensors", ".json"}


def test_saving_a_step_again_replaces_it(tmp_path):
    save_checkpoint(tmp_path, 1, TENSORS, {"step": 1, "try": 1})
    save_checkpoint(tmp_path, 1, TENSORS, {"step": 1, "try": 2})
    assert names(tmp_path) == ["step-00000001"]
    assert load_checkpoint(tmp_path)[1]["try"] == 2


@pytest.mark.parametrize("file", ["tensors.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["cut", "empty", "gone"])
def test_a_broken_newest_one_falls_back(tmp_path, file, damage):
    for step in (1, 2):
        save_checkpoint(tmp_path, step, TENSORS, {"step": step})
    path = tmp_path / "step-00000002" / file
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2 if damage == "cut" else 0])
    if damage == "gone":
        path.unlink()
    tensors, state = load_checkpoint(tmp_path)
    assert state["step"] == 1
    assert same(tensors, TENSORS)


def test_no_readable_checkpoint_names_the_broken_ones(tmp_path):
    for step in (1, 2):
        (save_checkpoint(tmp_path, step, TENSORS, STATE) / "state.json").write_text('{"step": ')
    with pytest.raises(ValueError, match=r"cannot be read: step-00000002 \(.*\); step-00000001 \("):
        load_checkpoint(tmp_path)


def test_no_checkpoint_at_all(tmp_path):
    with pytest.raises(ValueError, match=r"no checkpoint to resume from in .*nowhere$"):
        load_checkpoint(tmp_path / "nowhere")


def test_a_crash_before_the_rename_leaves_the_others(tmp_path, monkeypatch):
    for step in (1, 2):
        save_checkpoint(tmp_path, step, TENSORS, {"step": step})

    def crash(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt(f"before {target}")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", crash)
        with pytest.raises(KeyboardInterrupt):
            save_checkpoint(tmp_path, 3, TENSORS, {"step": 3})
    assert names(tmp_path) == ["step-00000001", "step-00000002"]
    assert load_checkpoint(tmp_path)[1]["step"] == 2
    save_checkpoint(tmp_path, 3, TENSORS, {"step": 3})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000002", "step-00000003"]


def train(toy: Toy, optimiser: torch.optim.Optimizer, steps: int) -> None:
    for step in range(steps):
        toy.loss(one_batch(first=step), PER_LAYER.largest if step % 2 else PER_LAYER.smallest).backward()
        optimiser.step()
        optimiser.zero_grad()


@pytest.mark.parametrize("kind", ["weights", "alphas"])
def test_an_optimiser_goes_on_as_if_never_stopped(tmp_path, kind):
    def optimiser_of(toy: Toy) -> torch.optim.Optimizer:
        if kind == "weights":
            return weight_optimiser(toy.named_parameters(), 0.01, 0.1, torch.device("cpu"))
        return architecture_optimiser(toy.parameters(), 0.01)

    toy, other = Toy(), Toy()
    optimiser, fresh = optimiser_of(toy), optimiser_of(other)
    train(toy, optimiser, 3)
    other.load_state_dict(toy.state_dict())
    save_checkpoint(tmp_path, 1, optimiser_tensors("mine", optimiser) | {"mineral.0.step": torch.tensor(99.0)}, STATE)
    load_optimiser("mine", fresh, load_checkpoint(tmp_path)[0])
    train(toy, optimiser, 3)
    train(other, fresh, 3)
    assert same(weights_of(toy), weights_of(other))


def test_loading_an_optimiser_keeps_its_own_settings():
    toy = Toy()
    fast, slow = (architecture_optimiser(toy.parameters(), rate) for rate in (0.5, 0.1))
    train(toy, fast, 1)
    load_optimiser("alphas", slow, optimiser_tensors("alphas", fast))
    assert slow.param_groups[0]["lr"] == 0.1
    assert slow.state_dict()["state"].keys() == fast.state_dict()["state"].keys()


def test_numbers_that_have_changed_are_noticed_and_told(tmp_path):
    for step in (1, 2):
        save_checkpoint(tmp_path, step, TENSORS, {"step": step})
    path = tmp_path / "step-00000002" / "tensors.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    told: list[str] = []
    assert load_checkpoint(tmp_path, told.append)[1]["step"] == 1
    assert "step-00000002 (tensors.safetensors is not what state.json was written for)" in told[0]
    assert "the checkpoint before, step-00000001, is used" in told[0]
