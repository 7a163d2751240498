"""Endless, seeded streams of batches whose position is a number, and fixed batches to evaluate on."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from itertools import count, islice
from typing import Any, cast

import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler, default_collate

from knotwork_search._protocols import Batch
from knotwork_search._sampling import seeded


class EndlessOrder(Dataset[Any]):
    """A map-style dataset repeated for ever, in a new order each epoch; asked for a batch by its items' positions in the run.

    The order is a function of the seed and the epoch, and what a batch draws at random (augmentation, mixing of its items) one
    of the seed and its first position, so a run that resumes at a position sees what it would have seen.

    Args:
        dataset: its items are dicts of tensors. When it has a method ``collate``, that makes a batch of a list of items.
        seed: of the order and of what batches draw.
    """

    def __init__(self, dataset: Any, seed: int) -> None:
        self.dataset, self.seed = dataset, seed
        self._collate = getattr(dataset, "collate", default_collate)
        self._epoch, self._order = -1, []

    def __getitems__(self, positions: list[int]) -> Batch:
        with seeded("batch", self.seed, positions[0]):
            return self._collate([self.dataset[self.index(position)] for position in positions])

    def index(self, position: int) -> int:
        """Which item stands at a position."""
        epoch, place = divmod(position, len(self.dataset))
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            self._epoch, self._order = epoch, torch.randperm(len(self.dataset), generator=generator).tolist()
        return self._order[place]


class _Positions(Sampler[int]):
    """All whole numbers from a first one on."""

    def __init__(self, start: int) -> None:
        self.start = start

    def __iter__(self) -> Iterator[int]:
        return count(self.start)


class _EndlessStream(IterableDataset[Any]):
    """A streamed dataset repeated for ever, from any position on."""

    def __init__(self, dataset: Any, start: int) -> None:
        self.dataset, self.start = dataset, start

    def __iter__(self) -> Iterator[Any]:
        skip = self.start
        while True:
            seen = 0
            for seen, item in enumerate(self.dataset, start=1):
                if seen > skip:
                    yield item
            if seen == 0:
                raise ValueError("the streamed dataset is empty: there is nothing to train on")
            skip = max(0, skip - seen)


def batches(
    dataset: Dataset[Any] | Any, batch_size: int, accelerator: Accelerator, *, seed: int, position: int = 0
) -> Iterator[Batch]:
    """Batches for ever, on the accelerator's device; each process gets its own.

    Args:
        dataset: map-style (shuffled anew each epoch, with a method ``collate`` if it has one) or iterable (in its own order),
            with dict items.
        batch_size: items per process.
        accelerator: shards the batches over processes and moves them to the device.
        seed: of the order.
        position: batches per process to skip, for resuming.
    """
    start = position * batch_size * accelerator.num_processes
    # A generator of its own keeps the loader from drawing on torch's global one, which the loop seeds by step.
    options: Any = {"pin_memory": accelerator.device.type == "cuda", "generator": torch.Generator()}
    if isinstance(dataset, Sized):
        if len(dataset) < batch_size:
            raise ValueError(f"{len(dataset)} items are fewer than one batch of {batch_size}: use a smaller batch or more data")
        order = EndlessOrder(dataset, seed)
        loader = DataLoader(order, batch_size, sampler=_Positions(start), collate_fn=_as_it_is, **options)
    else:
        loader = DataLoader(_EndlessStream(dataset, start), batch_size, **options)
    prepared = accelerator.prepare_data_loader(loader)
    # The accelerator keeps what it prepares for its own checkpoints, which are not used here.
    accelerator._dataloaders.remove(prepared)
    return iter(prepared)


def _as_it_is(batch: Any) -> Any:
    return batch


def fixed_batches(dataset: Dataset[Any] | Any, batch_size: int, most: int, device: torch.device) -> list[Batch]:
    """Up to ``most`` batches, the same at every call: evenly spread over a map-style dataset, the first of a stream."""
    if isinstance(dataset, Sized):
        size = len(dataset)
        wanted = min(size, batch_size * most)
        items = [cast(Any, dataset)[i * size // wanted] for i in range(wanted)]
    else:
        items = list(islice(iter(dataset), batch_size * most))
    collate = getattr(dataset, "collate", default_collate)
    groups = [items[i : i + batch_size] for i in range(0, len(items), batch_size)]
    return [{key: value.to(device) for key, value in collate(group).items()} for group in groups]
