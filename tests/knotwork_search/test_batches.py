from itertools import chain, islice, pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from knotwork_search import batches, fixed_batches
from knotwork_search._batches import EndlessSampler

from .toy import Stream, numbered

CPU = torch.device("cpu")


def ids(stream, count: int) -> list[list[int]]:
    return [batch["id"].tolist() for batch in islice(stream, count)]


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 20), position=st.integers(0, 70), seed=st.integers(0, 1000))
def test_sampler_goes_on_from_any_position(size: int, position: int, seed: int):
    whole = list(islice(EndlessSampler(size, seed), position + 30))
    assert list(islice(EndlessSampler(size, seed, position), 30)) == whole[position:]


def test_sampler_shuffles_every_epoch_anew():
    sampler = EndlessSampler(50, seed=3)
    drawn = list(islice(sampler, 200))
    epochs = [drawn[start : start + 50] for start in range(0, 200, 50)]
    assert all(sorted(epoch) == list(range(50)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert list(islice(EndlessSampler(50, seed=4), 50)) != epochs[0]


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
