"""How much each unit matters: three scores, from weights alone or over a small calibration set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from knotwork_ops import DEPTH
from torch import Tensor

from knotwork_spaces.ordering._units import Layer, Reading, UnitGroup, Units

SCORES = ("magnitude", "activation", "taylor")
Batch = Mapping[str, Tensor]


def unit_scores(
    model: Any, units: Units, score: str, batches: Iterable[Batch], loss: Callable[[Any, Batch], Tensor]
) -> dict[str, Tensor]:
    """The importance of every unit, by group, and of every layer, as ``depth``.

    Args:
        model: the plain network; it is left as it was.
        units: its units.
        score: one of

            - ``magnitude``: the Euclidean norm of the unit's weights;
            - ``activation``: the root of the mean square of what the unit passes on; of a layer, of what it adds to the stream,
              over that of the stream;
            - ``taylor``: the mean square, over batches, of the first-order change of the loss when the unit's weights become
              zero, ``(sum_s g_s w_s)^2`` (Molchanov et al. 2019, "Importance Estimation for Neural Network Pruning", eq. 8).
        batches: the calibration set; not read for ``magnitude``.
        loss: mean loss of the model on a batch.

    Raises:
        ValueError: another score, or an empty calibration set.
    """
    if score not in SCORES:
        raise ValueError(f"unknown score {score!r}: known are {list(SCORES)}")
    training = model.training
    model.eval()
    try:
        if score == "magnitude":
            return _magnitudes(model, units)
        scores = (_activations if score == "activation" else _taylor)(model, units, batches, loss)
    finally:
        model.train(training)
    return scores


def _magnitudes(model: Any, units: Units) -> dict[str, Tensor]:
    squares = {name: parameter.detach().square() for name, parameter in model.named_parameters()}
    scores = {group.name: _by_unit(group, squares).sqrt() for group in units.groups}
    return scores | {DEPTH: torch.stack([_by_layer(layer, squares).sqrt() for layer in units.layers])}


def _taylor(model: Any, units: Units, batches: Iterable[Batch], loss: Callable[[Any, Batch], Tensor]) -> dict[str, Tensor]:
    totals: dict[str, Tensor] = {}
    parameters = dict(model.named_parameters())
    count = 0
    for batch in batches:
        gradients = torch.autograd.grad(loss(model, batch), list(parameters.values()), allow_unused=True)
        changes = {
            name: torch.zeros_like(weight) if gradient is None else gradient * weight.detach()
            for (name, weight), gradient in zip(parameters.items(), gradients, strict=True)
        }
        found = {group.name: _by_unit(group, changes).square() for group in units.groups}
        found[DEPTH] = torch.stack([_by_layer(layer, changes).square() for layer in units.layers])
        totals = {name: totals.get(name, 0) + value for name, value in found.items()}
        count += 1
    _check(count)
    return {name: total / count for name, total in totals.items()}


def _activations(model: Any, units: Units, batches: Iterable[Batch], loss: Callable[[Any, Batch], Tensor]) -> dict[str, Tensor]:
    squares: dict[tuple[str, str], Tensor] = {}
    added: dict[str, Tensor] = {}
    counts: dict[tuple[str, str], int] = {}
    handles = []

    def reads(key: tuple[str, str]) -> Callable[..., None]:
        def hook(_module: Any, arguments: tuple[Any, ...], output: Any) -> None:
            read = (arguments[0] if key[1] == "input" else output).detach().flatten(0, -2)
            squares[key] = squares.get(key, 0) + read.square().sum(0)
            counts[key] = counts.get(key, 0) + len(read)

        return hook

    def adds(name: str) -> Callable[..., None]:
        def hook(_module: Any, arguments: tuple[Any, ...], output: Any) -> None:
            x = arguments[0].detach()
            y = (output[0] if isinstance(output, tuple) else output).detach()
            added[name] = added.get(name, 0) + ((y - x).square().mean() / x.square().mean()).sqrt()

        return hook

    modules = dict(model.named_modules())
    for module, side in {(reading.module, reading.side) for group in units.groups for reading in group.readings}:
        handles.append(modules[module].register_forward_hook(reads((module, side))))
    handles += [modules[layer.module].register_forward_hook(adds(layer.module)) for layer in units.layers]
    count = 0
    try:
        with torch.no_grad():
            for count, batch in enumerate(batches, 1):  # noqa: B007
                loss(model, batch)
    finally:
        for handle in handles:
            handle.remove()
    _check(count)

    def of(reading: Reading) -> Tensor:
        key = reading.module, reading.side
        return (squares[key] / counts[key])[reading.positions].mean(1)

    scores = {group.name: torch.stack([of(reading) for reading in group.readings]).mean(0).sqrt() for group in units.groups}
    return scores | {DEPTH: torch.stack([added[layer.module] / count for layer in units.layers])}


def _by_unit(group: UnitGroup, values: Mapping[str, Tensor]) -> Tensor:
    """The sum over each unit's entries."""
    total = torch.zeros(group.count, dtype=values[group.places[0].parameter].dtype)
    for place in group.places:
        value = values[place.parameter]
        along = value.movedim(place.axis, 0).flatten(1).sum(1) if value.dim() > 1 else value
        total = total + along[place.positions].sum(1).cpu()
    return total


def _by_layer(layer: Layer, values: Mapping[str, Tensor]) -> Tensor:
    return torch.stack([values[name].sum() for name in layer.outputs]).sum().cpu()


def _check(count: int) -> None:
    if count == 0:
        raise ValueError("the calibration set is empty: give at least one batch")
