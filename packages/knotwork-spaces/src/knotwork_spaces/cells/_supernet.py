"""The toy-cell supernet: every edge holds both kinds of operation, with the kernels of the largest size."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from knotwork_ops import (
    Architecture,
    HardSample,
    Kernel,
    KindShare,
    Mixture,
    Selection,
    mixed_kinds,
    run_kinds,
    separable_conv2d,
    sliced_kind,
)
from torch import Tensor, nn
from torch.nn import functional as F

from knotwork_spaces._classification import Classifier
from knotwork_spaces.cells._cost import cell_cost
from knotwork_spaces.cells._extract import batch_norms, plain_model, slice_state_dict
from knotwork_spaces.cells._space import ToyCellSpace
from knotwork_spaces.cells.toy_cell_network import OPERATIONS, CellStack, ToyCellNetwork


class ToyCellSupernet(Classifier, CellStack):
    """Every architecture of a ``ToyCellSpace`` in one set of weights, whose parameters have the plain network's names.

    Within a kind the kernel of 3x3 is the centre of that of 5x5, and pointwise weights are shared. A mixture superposes the
    kernels of a kind and sums the kinds: ``knotwork_ops._kinds`` has the formula.

    Batch norms have no weights and keep no running statistics: every architecture and mixture would have others. While training
    and in evaluation alike they use the statistics of the batch itself. So logits depend on what else is in the batch, and an
    extracted network needs ``recalibrate`` before it is used in eval mode.

    Args:
        space: the search space.
    """

    def __init__(self, space: ToyCellSpace) -> None:
        super().__init__({choice.name: _largest_of_each_kind(choice.options) for choice in space}, **space.sizes)
        self.space = space
        for norm in batch_norms(self):
            norm.track_running_stats = False
            norm.running_mean = norm.running_var = norm.num_batches_tracked = None
            norm.register_forward_pre_hook(_raised)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile nothing: the net is a few convolutions, which no fusion speeds up."""

    def logits(self, image: Tensor, arch: Selection) -> Tensor:
        """Class logits, under the batch's own statistics.

        Args:
            image: (batch, channels, height, width), of the space's image size.
            arch: the mixture, hard sample or architecture to run.

        Returns:
            (batch, classes).

        Raises:
            ValueError: images of another size, or an architecture of another space.
        """
        self.check_images(image)
        shares = _shares(self.space, arch)

        def edge_output(choice: str, edge: nn.ModuleDict, x: Tensor) -> Tensor:
            return run_kinds(x, {kind: partial(_run, stages) for kind, stages in edge.items()}, shares[choice])

        return self.run(image, edge_output)

    def cost(self, arch: Mixture | Architecture) -> dict[str, Tensor]:
        """Exact ``params``, ``flops`` and ``macs`` per image; expected, and differentiable, under a mixture."""
        return cell_cost(self.space, arch)

    def extract(self, arch: Architecture) -> ToyCellNetwork:
        """The plain network of an architecture, with copies of this supernet's weights; ``recalibrate`` it before eval mode."""
        self.space.validate(arch)
        model = plain_model(self.space, arch, slice_state_dict(self.space, self.state_dict(), arch))
        return model.train(self.training)


def _raised(_: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    """What a norm reads, in float32 at least: on CPUs torch rounds the statistics of bfloat16 to it where none are kept."""
    (x,) = inputs
    return (x.float() if x.dtype in (torch.float16, torch.bfloat16) else x,)


def _largest_of_each_kind(options: tuple[Any, ...]) -> list[str]:
    return list({OPERATIONS[name][0]: name for name in options}.values())


def _shares(space: ToyCellSpace, arch: Selection) -> dict[str, dict[str, KindShare]]:
    """How every choice uses its edges' operations."""
    if isinstance(arch, Mixture):
        return {c.name: mixed_kinds([OPERATIONS[str(o)] for o in c.options], arch[c.name]) for c in space}
    sample = HardSample(arch) if isinstance(arch, Architecture) else arch
    space.validate(sample.architecture)
    return {name: sliced_kind(OPERATIONS[option], sample.factors.get(name)) for name, option in sample.architecture.items()}


def _run(stages: Any, x: Tensor, kernel: Kernel) -> Tensor:
    """An operation as ``toy_cell_network.run_operation`` runs it, its kernels superposed or cut to size."""
    for part in stages:
        conv = part["depthwise"]
        stride, dilation = conv.stride[0], conv.dilation[0]
        x = separable_conv2d(F.relu(x), conv.weight, part["pointwise"].weight, kernel, stride=stride, dilation=dilation)
        x = part["norm"](x)
    return x
