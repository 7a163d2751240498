"""From the supernet to the plain network of one architecture: the chosen operations, their kernels cut to size."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from knotwork_ops import Architecture, SlicedKernel
from torch import Tensor, nn

from knotwork_spaces._classification import classification_metrics
from knotwork_spaces.cells._space import ToyCellSpace
from knotwork_spaces.cells.toy_cell_network import ToyCellNetwork


def plain_model(space: ToyCellSpace, architecture: Architecture, state: Mapping[str, Tensor] | None = None) -> ToyCellNetwork:
    """The plain network of an architecture, freshly initialised, or with a subnet's parameters and no statistics yet.

    Raises:
        ValueError: an architecture that is not of this space.
    """
    space.validate(architecture)
    if state is None:
        return ToyCellNetwork(architecture.as_dict(), **space.sizes)
    # On the meta device nothing is initialised, so neither time nor the random state is spent on weights to be replaced.
    with torch.device("meta"):
        model = ToyCellNetwork(architecture.as_dict(), **space.sizes)
    like = next(iter(state.values()))
    model.to_empty(device=like.device).to(like.dtype)
    model.load_state_dict(state, strict=False, assign=True)
    for norm in batch_norms(model):
        norm.reset_running_stats()
    return model


def slice_state_dict(space: ToyCellSpace, state: Mapping[str, Tensor], architecture: Architecture) -> dict[str, Tensor]:
    """The subnet's parameters, named as the supernet's, as contiguous copies of its sub-blocks.

    Args:
        space: the space both belong to.
        state: the supernet's state dict.
        architecture: the subnet.
    """
    with torch.device("meta"):
        wanted = dict(plain_model(space, architecture).named_parameters())
    subnet = {}
    for name, parameter in wanted.items():
        tensor = state[name]
        if tensor.shape != parameter.shape:  # of all parameters only kernels differ in size
            tensor = SlicedKernel(parameter.shape[-1]).take(tensor)
        subnet[name] = tensor.detach().clone(memory_format=torch.contiguous_format)
    return subnet


def batch_norms(model: nn.Module) -> list[nn.BatchNorm2d]:
    """The batch norms of a model."""
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]


def recalibrate(model: nn.Module, batches: Iterable[Mapping[str, Tensor]]) -> None:
    """Set the running statistics of a plain network's batch norms to their average over some batches.

    Weights that were shared had no statistics of their own (each architecture would have others), so an extracted network needs
    this before it is used in eval mode. Nothing else changes, and dropout is off.

    Args:
        model: with batch norms.
        batches: each with ``image``: (batch, channels, height, width); a few of training images are enough.

    Raises:
        ValueError: no batches.
    """
    modes = {module: module.training for module in model.modules()}
    norms = batch_norms(model)
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over all batches
        norm.train()
    seen = False
    with torch.no_grad():
        for batch in batches:
            model(batch["image"])
            seen = True
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    for module, training in modes.items():
        module.training = training
    if not seen:
        raise ValueError("there are no batches to recalibrate on: give at least one")


def plain_metrics(model: nn.Module, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The supernet's metrics of a plain network. See ``ToyCellSupernet.metrics``."""
    return classification_metrics(model(batch["image"]), batch["label"])
