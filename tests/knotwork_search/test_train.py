"""Training and evaluating one network alone."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from knotwork_search import Batch, Training, TrainSettings, batches, evaluate_alone, fixed_batches, train_alone
from torch import Tensor, nn

from .toy import numbered


def metrics(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    return {"loss": (model(batch["x"]).squeeze(-1) - batch["y"]).square().mean()}


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 1))


def test_training_is_adamw_under_a_warm_cosine(accelerator):
    """Four steps against the loop written out: half the peak, twice the peak, then the middle of the cosine."""
    model, by_hand = network(), network()
    for module in (*model.modules(), *by_hand.modules()):
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    train_alone(
        model, metrics, numbered(40), accelerator, steps=4, batch_size=4, learning_rate=0.1, warmup_share=0.5, clip=0.05, seed=7
    )
    matrices = [p for p in by_hand.parameters() if p.dim() > 1]
    vectors = [p for p in by_hand.parameters() if p.dim() == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.95))
    stream = batches(numbered(40), 4, accelerator, seed=7)
    for rate in (0.05, 0.1, 0.1, 0.05):
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.zero_grad()
        metrics(by_hand, next(stream))["loss"].backward()
        torch.nn.utils.clip_grad_norm_(by_hand.parameters(), 0.05)
        optimiser.step()
    for one, other in zip(model.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_training_lowers_the_loss(accelerator):
    model, data = network(), fixed_batches(numbered(40), 8, 5, torch.device("cpu"))
    before = evaluate_alone(model, metrics, data, accelerator)["loss"]
    train_alone(model, metrics, numbered(40), accelerator, steps=60, batch_size=8, learning_rate=0.03)
    assert evaluate_alone(model, metrics, data, accelerator)["loss"] < 0.7 * before


def test_evaluation_weighs_batches_and_has_no_dropout(accelerator):
    model = network()
    uneven = evaluate_alone(model, metrics, fixed_batches(numbered(10), 4, 9, torch.device("cpu")), accelerator)
    whole = evaluate_alone(model, metrics, fixed_batches(numbered(10), 10, 1, torch.device("cpu")), accelerator)
    assert uneven == pytest.approx(whole, rel=1e-5)
    assert model.training


def training(model: nn.Module, accelerator: Accelerator, folder: Path | None = None, **settings: Any) -> Training:
    own = TrainSettings(**{"steps": 6, "batch_size": 4, "learning_rate": 0.1, "checkpoint_every": 2, **settings})
    return Training(model, lambda batch: metrics(model, batch)["loss"], numbered(40), own, accelerator, checkpoints=folder)


def test_a_resumed_training_ends_where_an_uninterrupted_one_does(accelerator, tmp_path: Path):
    """With dropout, and with batch norm, whose statistics belong to what a checkpoint keeps."""
    nets = [nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1)) for _ in range(3)]
    for net in nets[:2]:
        net.load_state_dict(nets[2].state_dict())
    whole, stopped, resumed = nets
    training(whole, accelerator).run()
    broken_off = training(stopped, accelerator, tmp_path)
    own, left = broken_off.loss, iter([True, True, True])

    def loss(batch: Batch) -> Tensor:
        if not next(left, False):
            raise KeyboardInterrupt
        return own(batch)

    broken_off.loss = loss
    with pytest.raises(KeyboardInterrupt):
        broken_off.run()
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000002"]
    torch.rand(3)  # what was drawn elsewhere does not matter
    going_on = training(resumed, accelerator, tmp_path)
    going_on.load()
    assert going_on.step == 2
    going_on.run()
    for name, value in whole.state_dict().items():
        assert value.equal(resumed.state_dict()[name]), name


def test_accumulation_sums_batches_up(accelerator):
    one, two = nn.Linear(3, 1), nn.Linear(3, 1)
    two.load_state_dict(one.state_dict())
    training(one, accelerator, batch_size=8).run()
    training(two, accelerator, gradient_accumulation=2).run()
    torch.testing.assert_close(one.weight, two.weight)


def test_a_checkpoint_of_another_model(accelerator, tmp_path: Path):
    training(nn.Linear(3, 1), accelerator, tmp_path).run()
    with pytest.raises(ValueError, match=r"has no fitting model\.weight: it is of another model"):
        training(nn.Linear(2, 1), accelerator, tmp_path).load()
    with pytest.raises(ValueError, match="no checkpoint to resume from"):
        training(nn.Linear(3, 1), accelerator, tmp_path / "none").load()


@pytest.mark.parametrize(
    ("name", "value"), [("steps", 0), ("batch_size", 1.5), ("learning_rate", -1.0), ("weight_decay", 2.0), ("clip", math.nan)]
)
def test_settings_that_cannot_be(name: str, value: float):
    with pytest.raises(ValueError, match=f"{name} is {value}: it must be at least"):
        TrainSettings(**{"steps": 1, "batch_size": 1, "learning_rate": 1.0, name: value})  # type: ignore[arg-type]
