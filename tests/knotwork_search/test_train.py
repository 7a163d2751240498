"""Training and evaluating one network alone."""

from __future__ import annotations

import pytest
import torch
from knotwork_search import Batch, batches, evaluate_alone, fixed_batches, train_alone
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
