"""Drawing architectures, and the random state of a step."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy
import torch
from knotwork_ops import DEPTH, Architecture, Mixture, SearchSpace
from torch import Tensor


@contextmanager
def seeded(*key: int | str) -> Iterator[None]:
    """Seed the global generators of torch, numpy and Python by a key for the length of the block, and put their state back.

    What a step draws is thereby a function of the run's seed and the step alone: every process draws the same, and a resumed
    run draws what it would have drawn.
    """
    number = int.from_bytes(hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=7).digest(), "big")
    python_state, numpy_state = random.getstate(), numpy.random.get_state()
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(number)
        random.seed(number)
        numpy.random.seed(number % 2**32)
        try:
            yield
        finally:
            random.setstate(python_state)
            numpy.random.set_state(numpy_state)


def architecture_at(space: SearchSpace, chosen: Mapping[str, Tensor]) -> Architecture:
    """The architecture at option indices: 0-dim, or ``(layers,)`` of which the architecture's depth uses the first."""
    indices: dict[str, Any] = {name: index.tolist() for name, index in chosen.items()}
    values: dict[str, Any] = {}
    for choice in space:
        index = indices[choice.name]
        values[choice.name] = choice.options[index] if choice.layers is None else [choice.options[i] for i in index]
    for choice in space:
        if choice.per_layer and DEPTH in space:
            values[choice.name] = values[choice.name][: values[DEPTH]]
    return space.architecture(values)


def draw_architecture(probabilities: Mixture) -> Architecture:
    """One architecture, every choice drawn independently from the mixture's weights."""
    chosen = {}
    for name, weights in probabilities.items():
        rows = weights.detach().float().reshape(-1, weights.shape[-1])
        chosen[name] = torch.multinomial(rows, 1).reshape(weights.shape[:-1])
    return architecture_at(probabilities.space, chosen)


def extremes(space: SearchSpace) -> tuple[Architecture, Architecture]:
    """The largest and the smallest architecture, each with options drawn uniformly where a choice is among names.

    Numbers nest, so that what trains the ends trains what lies between. Names, such as those of operations, do not: to train
    the first and the last more than the others would favour them, whatever they are worth.
    """

    def with_kinds(end: Architecture) -> Architecture:
        values: dict[str, Any] = end.as_dict()
        for choice in space:
            if isinstance(choice.options[0], str):
                drawn = torch.randint(len(choice.options), (len(values[choice.name]) if choice.per_layer else 1,)).tolist()
                values[choice.name] = [choice.options[i] for i in drawn] if choice.per_layer else choice.options[drawn[0]]
        return space.architecture(values)

    return with_kinds(space.largest), with_kinds(space.smallest)


def uniform_mixture(space: SearchSpace) -> Mixture:
    """Equal weight on every option."""
    return Mixture(space, {c.name: torch.full(c.shape, 1 / len(c.options)) for c in space})


def most_likely(probabilities: Mixture) -> Architecture:
    """The likeliest option of every choice, budget or not."""
    return architecture_at(probabilities.space, {name: weights.argmax(-1) for name, weights in probabilities.items()})
