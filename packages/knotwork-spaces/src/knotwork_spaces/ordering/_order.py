"""Reorder a network by importance: a permutation of its units, and a list of its layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import torch
from knotwork_ops import DEPTH
from torch import Tensor

from knotwork_spaces._families import family
from knotwork_spaces.ordering._scores import Batch, unit_scores
from knotwork_spaces.ordering._units import UnitGroup

SpaceT = TypeVar("SpaceT", bound=Any)


def ordered(space: SpaceT, model: Any, score: str, batches: Iterable[Batch]) -> SpaceT:
    """Order a checkpoint's units in place, the most important first, so that smaller nets inherit those.

    The model computes the same function as before. Layers stay where they are: the space that is returned says which of them
    shallower nets keep.

    Args:
        space: a space of which the model is the largest architecture.
        model: the plain upstream model.
        score: as ``unit_scores`` takes it.
        batches: the calibration set, as the family's ``plain_metrics`` takes them.

    Raises:
        ValueError: a family whose units cannot be ordered, or as ``unit_scores`` does.
    """
    kind = family(space.family)
    if kind.units is None:
        raise ValueError(f"units of the family {space.family!r} cannot be ordered: search with --order none")
    units = kind.units(space, model)
    scores = unit_scores(model, units, score, batches, lambda model, batch: kind.plain_metrics(model, batch)["loss"])
    for group in units.groups:
        order_units(model, group, scores[group.name].argsort(descending=True, stable=True))
    layers = scores[DEPTH].argsort(descending=True, stable=True).tolist()
    return replace(space, layer_order=tuple(layers))


@torch.no_grad()
def order_units(model: Any, group: UnitGroup, order: Tensor) -> None:
    """Put the group's units ``order``, (units,), first to last, in every place where they lie."""
    parameters: Mapping[str, Tensor] = dict(model.named_parameters())
    for place in group.places:
        parameter = parameters[place.parameter]
        source, target = place.positions[order].flatten(), place.positions.flatten()
        moved = parameter.index_select(place.axis, source.to(parameter.device))
        parameter.index_copy_(place.axis, target.to(parameter.device), moved)
