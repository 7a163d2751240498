import random
from collections.abc import Iterable
from itertools import chain, islice, pairwise

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from knotwork_search import batches, fixed_batches
from knotwork_search._batches import EndlessOrder

from .toy import Stream, numbered

CPU = torch.device("cpu")


def ids(stream, count: int) -> list[list[int]]:
    return [batch["id"].tolist() for batch in islice(stream, count)]


def order(size: int, seed: int, positions: Iterable[int]) -> list[int]:
    shuffled = EndlessOrder(list(range(size)), seed)
    return [shuffled.index(position) for position in positions]


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 20), position=st.integers(0, 70), seed=st.integers(0, 1000))
def test_order_goes_on_from_any_position(size: int, position: int, seed: int):
    whole = order(size, seed, range(position + 30))
    assert order(size, seed, range(position, position + 30)) == whole[position:]


def test_order_changes_with_every_epoch():
    drawn = order(50, 3, range(200))
    epochs = [drawn[start : start + 50] for start in range(0, 200, 50)]
    assert all(sorted(epoch) == list(range(50)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert order(50, 4, range(50)) != epochs[0]


class Noisy:
    """Items that draw from every global generator, and a batch that mixes them."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"id": torch.tensor(index), "noise": torch.rand(()) + random.random() + numpy.random.rand()}

    def collate(self, items: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        batch = {name: torch.stack([item[name] for item in items]) for name in items[0]}
        return {**batch, "noise": batch["noise"] * torch.rand(())}


@pytest.mark.parametrize("position", [1, 2, 5])
def test_what_a_batch_draws_depends_on_its_position_alone(accelerator, position):
    def noise(first: int, count: int) -> list[list[float]]:
        stream = batches(Noisy(), 4, accelerator, seed=1, position=first)
        torch.rand(3)
        random.random()
        numpy.random.rand()
        return [batch["noise"].tolist() for batch in islice(stream, count)]

    whole = noise(0, 8)
    assert noise(position, 8 - position) == whole[position:]
    assert len({value for batch in whole for value in batch}) == 32


def test_a_dataset_collates_its_own_fixed_batches():
    assert [len(batch["noise"]) for batch in fixed_batches(Noisy(), 4, 9, CPU)] == [4, 4, 2]


@pytest.mark.parametrize("position", [0, 1, 2, 3, 7])
def test_batches_go_on_from_any_position(accelerator, position):
    whole = ids(batches(numbered(10), 4, accelerator, seed=1), 12)
    assert ids(batches(numbered(10), 4, accelerator, seed=1, position=position), 12 - position) == whole[position:]
    assert sorted(chain(*whole[:5])) == sorted(2 * list(range(10)))


@pytest.mark.parametrize("position", [0, 1, 2, 3, 5, 7])
def test_streamed_batches_go_on_from_any_position(accelerator, position):
    # 10 items in batches of 4: position 3 lies in the second pass, position 5 at the start of the third.
    whole = ids(batches(Stream(numbered(10)), 4, accelerator, seed=1), 12)
    assert whole[:3] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 0, 1]]
    assert ids(batches(Stream(numbered(10)), 4, accelerator, seed=1, position=position), 12 - position) == whole[position:]


def test_a_stream_shorter_than_a_batch_is_repeated(accelerator):
    assert ids(batches(Stream(numbered(3)), 4, accelerator, seed=1), 2) == [[0, 1, 2, 0], [1, 2, 0, 1]]


def test_an_empty_stream_is_refused(accelerator):
    with pytest.raises(ValueError, match="the streamed dataset is empty"):
        next(batches(Stream([]), 4, accelerator, seed=1))


def test_too_few_items_are_refused(accelerator):
    assert len(ids(batches(numbered(8), 8, accelerator, seed=0), 1)[0]) == 8
    with pytest.raises(ValueError, match="5 items are fewer than one batch of 8: use a smaller batch or more data"):
        batches(numbered(5), 8, accelerator, seed=0)


@pytest.mark.parametrize("data", [numbered(20), Stream(numbered(20))], ids=["map-style", "stream"])
def test_fixed_batches_are_the_same_at_every_call(data):
    first, again = (fixed_batches(data, 3, 4, CPU) for _ in range(2))
    assert [batch["id"].tolist() for batch in first] == [batch["id"].tolist() for batch in again]
    assert [len(batch["id"]) for batch in first] == [3, 3, 3, 3]
    assert set(first[0]) == {"x", "y", "id"}


def test_fixed_batches_are_spread_evenly_over_a_dataset():
    drawn = list(chain(*ids(fixed_batches(numbered(100), 5, 4, CPU), 4)))
    assert drawn == list(range(0, 100, 5))
    drawn = list(chain(*ids(fixed_batches(numbered(31), 5, 4, CPU), 4)))
    assert {after - before for before, after in pairwise(drawn)} == {1, 2}


def test_fixed_batches_are_the_first_of_a_stream():
    assert ids(fixed_batches(Stream(numbered(100)), 4, 2, CPU), 2) == [[0, 1, 2, 3], [4, 5, 6, 7]]


@pytest.mark.parametrize("data", [numbered(7), Stream(numbered(7))], ids=["map-style", "stream"])
def test_fixed_batches_of_little_data_are_all_of_it(data):
    assert ids(fixed_batches(data, 4, 9, CPU), 9) == [[0, 1, 2, 3], [4, 5, 6]]
