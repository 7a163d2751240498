"""Endless, seeded streams of batches whose position is a number, and fixed batches to evaluate on."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from itertools import islice
from typing import Any, cast

import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler, default_collate

from knotwork_search._protocols import Batch


class EndlessSampler(Sampler[int]):
    """Indices of a dataset in a new order each epoch, for ever, from any position on.

    The order is a function of the seed and the epoch, so a run that resumes at a position sees what it would have seen.
    """

    def __init__(self, size: int, seed: int, start: int = 0) -> None:
        self.size, self.seed, self.start = size, seed, start

    def __iter__(self) -> Iterator[int]:
        epoch, skip = divmod(self.start, self.size)
        while True:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            yield from torch.randperm(self.size, generator=generator)[skip:].tolist()
            epoch, skip = epoch + 1, 0


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
        dataset: map-style (shuffled anew each epoch) or iterable (in its own order) with dict items.
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
        sampler = EndlessSampler(len(dataset), seed, start)
        loader = DataLoader(cast("Dataset[Any]", dataset), batch_size, sampler=sampler, **options)
    else:
        loader = DataLoader(_EndlessStream(dataset, start), batch_size, **options)
    prepared = accelerator.prepare_data_loader(loader)
    # The accelerator keeps what it prepares for its own checkpoints, which are not used here.
    accelerator._dataloaders.remove(prepared)
    return iter(prepared)


def fixed_batches(dataset: Dataset[Any] | Any, batch_size: int, count: int, device: torch.device) -> list[Batch]:
    """Up to ``count`` batches, the same at every call: evenly spread over a map-style dataset, the first of a stream."""
    if isinstance(dataset, Sized):
        size = len(dataset)
        wanted = min(size, batch_size * count)
        items = [cast(Any, dataset)[i * size // wanted] for i in range(wanted)]
    else:
        items = list(islice(iter(dataset), batch_size * count))
    groups = [items[i : i + batch_size] for i in range(0, len(items), batch_size)]
    return [{key: value.to(device) for key, value in default_collate(group).items()} for group in groups]
