import re
from typing import Any, cast

import pytest
from knotwork_search import SearchSettings

POSITIVE = ["max_steps", "batch_size", "gradient_accumulation", "candidates", "evaluation_batches", "checkpoint_every"]
SHARES = ["weight_decay", "warmup_share", "fair_share", "least_share"]


def settings(name: str, value: Any) -> SearchSettings:
    return SearchSettings(**cast(Any, {name: value}))


def test_the_defaults_are_allowed_and_frozen():
    with pytest.raises(AttributeError):
        SearchSettings().max_steps = 3  # pyright: ignore


@pytest.mark.parametrize("name", POSITIVE)
@pytest.mark.parametrize("value", [0, -1])
def test_counts_start_at_one(name, value):
    assert getattr(settings(name, 1), name) == 1
    with pytest.raises(ValueError, match=f"{name} is {value}: it must be at least 1"):
        settings(name, value)


@pytest.mark.parametrize("name", SHARES)
@pytest.mark.parametrize("value", [-0.1, 1.01, float("nan"), float("inf")])
def test_shares_lie_between_zero_and_one(name, value):
    assert getattr(settings(name, 0), name) == 0
    assert getattr(settings(name, 1), name) == 1
    with pytest.raises(ValueError, match=f"{name} is {value}: it must be at least 0 and at most 1"):
        settings(name, value)


@pytest.mark.parametrize("name", ["learning_rate", "clip"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("-inf")])
def test_rates_are_positive(name, value):
    with pytest.raises(ValueError, match=f"{name} is {re.escape(str(value))}: it must be at least 1e-12"):
        settings(name, value)


@pytest.mark.parametrize(
    ("name", "value", "low"),
    [("arch_learning_rate", -1e-3, 0), ("arch_learning_rate", float("nan"), 0), ("finetune_steps", -1, 0)],
)
def test_others_have_a_lower_limit(name, value, low):
    assert getattr(settings(name, low), name) == low
    with pytest.raises(ValueError, match=f"{name} is {value}: it must be at least {low}"):
        settings(name, value)


@pytest.mark.parametrize("value", [0.0, -5.0, float("nan")])
def test_a_budget_starts_at_one(value):
    with pytest.raises(ValueError, match=f"the budget of flops is {value}: it must be at least 1"):
        SearchSettings(limits={"params": 1e6, "flops": value})


def test_a_budget_of_milliseconds_may_be_below_one():
    assert SearchSettings(limits={"latency_ms": 0.2}).limits == {"latency_ms": 0.2}
    with pytest.raises(ValueError, match="the budget of latency_ms is 0: it must be at least 1e-06"):
        SearchSettings(limits={"latency_ms": 0})


@pytest.mark.parametrize("name", [*POSITIVE, "finetune_steps", "learning_rate", "clip", "arch_learning_rate"])
def test_infinity_is_no_value(name):
    with pytest.raises(ValueError, match=f"{name} is inf"):
        settings(name, float("inf"))


@pytest.mark.parametrize("name", [*POSITIVE, "finetune_steps"])
def test_counts_are_whole_numbers(name):
    with pytest.raises(ValueError, match=rf"{name} is 2\.5"):
        settings(name, 2.5)
