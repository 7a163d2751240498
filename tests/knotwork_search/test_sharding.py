"""What sharded weights are refused for; what they do is seen in two processes (test_one_engine.py)."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from knotwork_search import Search, SearchData, SearchSettings, _sharding
from knotwork_search._sharding import SHARDS_ON_CPUS, all_whole, check_shardable, placed_like, whole

from .toy import Toy, numbered

GPU = torch.device("cuda")
TWO: Any = SimpleNamespace(num_processes=2, scaler=None, device=GPU)


@pytest.mark.parametrize(
    ("accelerator", "asked", "message"),
    [
        (TWO, {"second_order": True}, "search with darts"),
        (TWO, {"compiled": True}, "one of --compile and --shard-weights"),
        (SimpleNamespace(num_processes=2, scaler=object(), device=GPU), {}, "use bf16 or float32"),
        (SimpleNamespace(num_processes=1, scaler=None, device=GPU), {}, "there is one: start several"),
    ],
)
def test_what_needs_whole_weights_is_refused(accelerator: Any, asked: dict[str, bool], message: str):
    with pytest.raises(ValueError, match=message):
        check_shardable(accelerator, **{"second_order": False, "compiled": False, **asked})


def test_two_processes_may_share_out_weights():
    check_shardable(TWO, second_order=False, compiled=False)


def test_an_older_torch_shares_out_on_gpus_alone(monkeypatch: pytest.MonkeyPatch):
    on_cpus: Any = SimpleNamespace(num_processes=2, scaler=None, device=torch.device("cpu"))
    monkeypatch.setattr(_sharding, "SHARDS_ON_CPUS", False)
    with pytest.raises(ValueError, match=r"--shard-weights needs a newer torch than .* on CPUs, or GPUs"):
        check_shardable(on_cpus, second_order=False, compiled=False)


def test_a_search_of_one_process_has_none_to_share_with(accelerator):
    data = SearchData(weight=numbered(8), architecture=numbered(8))
    message = "there is one: start several" if SHARDS_ON_CPUS else "needs a newer torch"
    with pytest.raises(ValueError, match=message):
        Search(Toy(), data, SearchSettings(batch_size=4), accelerator=accelerator, shard_weights=True)


def test_whole_tensors_stay_what_they_are():
    tensor = torch.ones(3)
    assert whole(tensor) is tensor
    assert placed_like(tensor, torch.zeros(3)) is tensor
    assert all_whole({"a": tensor}, cast(Any, SimpleNamespace(is_main_process=True)))["a"] is tensor
