"""The plain network of the toy-cell space: two reduction cells with a normal one between them, and a small classifier.

The space is that of TangleNAS (Sukthanker et al. 2024, cell-based toy space), its operations are those of DARTS (Liu et al.
2019) with batch norms that have no weights. This file travels with a saved network and needs nothing but torch and
safetensors: ``load_cells(folder)`` builds the network again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

OPERATIONS = {
    "dil_conv_3x3": ("dil_conv", 3),
    "dil_conv_5x5": ("dil_conv", 5),
    "sep_conv_3x3": ("sep_conv", 3),
    "sep_conv_5x5": ("sep_conv", 5),
}
"""Kind and kernel size of each operation, from the cheapest to the dearest."""

CELLS = ("reduce", "normal", "reduce")
EDGES = {"0_1": (0, 1), "0_2": (0, 2), "1_2": (1, 2)}
"""By name, the node that an edge leaves and the one that it enters."""

CHOICES = tuple(f"{kind}_{edge}" for kind in ("normal", "reduce") for edge in EDGES)
"""What an architecture names an operation for; both reduction cells use the same."""

EdgeOutput = Callable[[str, nn.ModuleDict, Tensor], Tensor]
"""From an edge's choice, its operations by kind and the node that it leaves to what it adds to the node that it enters."""


def stage(channels: int, size: int, stride: int = 1, dilation: int = 1) -> nn.ModuleDict:
    """The convolutions and the norm of a separable convolution: depthwise, pointwise, batch norm."""
    padding = dilation * (size // 2)
    depthwise = nn.Conv2d(channels, channels, size, stride, padding, dilation, groups=channels, bias=False)
    pointwise = nn.Conv2d(channels, channels, 1, bias=False)
    return nn.ModuleDict({"depthwise": depthwise, "pointwise": pointwise, "norm": nn.BatchNorm2d(channels, affine=False)})


def operation(name: str, channels: int, stride: int) -> nn.ModuleList:
    """The stages of an operation: one dilated by 2, or two plain ones of which the first has the stride."""
    kind, size = OPERATIONS[name]
    if kind == "dil_conv":
        return nn.ModuleList([stage(channels, size, stride, dilation=2)])
    return nn.ModuleList([stage(channels, size, stride), stage(channels, size)])


def run_operation(stages: Any, x: Tensor) -> Tensor:
    """Every stage behind a ReLU: (batch, channels, height, width), halved where the operation has stride 2."""
    for part in stages:
        x = part["norm"](part["pointwise"](part["depthwise"](F.relu(x))))
    return x


class Cell(nn.Module):
    """Node 0 is the input, mixed to the cell's channels; every later node sums its edges; the output is nodes 1 and 2.

    Args:
        kind: ``normal`` or ``reduce``; in a reduction cell the edges that leave node 0 have stride 2.
        inputs: channels of the input.
        channels: of every node; the output has twice as many.
        operations: by choice, the names of an edge's operations, one of each kind at most.
    """

    def __init__(self, kind: str, inputs: int, channels: int, operations: Mapping[str, Sequence[str]]) -> None:
        super().__init__()
        self.kind = kind
        self.preprocess = nn.ModuleDict(
            {"conv": nn.Conv2d(inputs, channels, 1, bias=False), "norm": nn.BatchNorm2d(channels, affine=False)}
        )
        self.edges = nn.ModuleDict()
        for edge, (start, _) in EDGES.items():
            stride = 2 if kind == "reduce" and start == 0 else 1
            names = operations[f"{kind}_{edge}"]
            self.edges[edge] = nn.ModuleDict({OPERATIONS[name][0]: operation(name, channels, stride) for name in names})

    def run(self, x: Tensor, edge_output: EdgeOutput) -> Tensor:
        """(batch, inputs, height, width) to (batch, 2 * channels, height, width), halved by a reduction cell."""
        nodes = [self.preprocess["norm"](self.preprocess["conv"](F.relu(x)))]
        for node in (1, 2):
            entering = [(edge, start) for edge, (start, end) in EDGES.items() if end == node]
            added = [edge_output(f"{self.kind}_{edge}", self.edges[edge], nodes[start]) for edge, start in entering]  # type: ignore[arg-type]
            nodes.append(sum(added[1:], added[0]))
        return torch.cat(nodes[1:], 1)


class CellStack(nn.Module):
    """The cells and the classifier behind them; what an edge computes is said by who runs it.

    Args:
        operations: by choice, the names of an edge's operations.
        image_size: height and width of the images, in pixels.
        channels: of the images.
        num_classes: entries of the classifier.
        width: channels of the nodes of the first two cells; the last has twice as many.
        dropout: behind each cell and in the classifier, while training.
    """

    def __init__(
        self,
        operations: Mapping[str, Sequence[str]],
        *,
        image_size: int = 28,
        channels: int = 1,
        num_classes: int = 10,
        width: int = 32,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        sizes = ((channels, width), (2 * width, width), (2 * width, 2 * width))
        self.cells = nn.ModuleList(Cell(kind, *size, operations) for kind, size in zip(CELLS, sizes, strict=True))
        self.projection = nn.Linear(4 * width * pooled_size(image_size) ** 2, 4 * width)
        self.classifier = nn.Linear(4 * width, num_classes)
        self.dropout = nn.Dropout(dropout)

    def run(self, image: Tensor, edge_output: EdgeOutput) -> Tensor:
        """Class logits (batch, classes) of images (batch, channels, height, width)."""
        x = image
        for cell in self.cells:
            x = self.dropout(cell.run(x, edge_output))  # type: ignore[operator]
        x = F.max_pool2d(x, 2).flatten(1)
        return self.classifier(self.dropout(F.relu(self.projection(x))))


class ToyCellNetwork(CellStack):
    """The network of one architecture, an ordinary module with running statistics in its batch norms.

    Args:
        architecture: the operation of every edge, by choice.
        **sizes: as ``CellStack`` takes them.

    Raises:
        ValueError: a choice is missing or unknown, or has an unknown operation.
    """

    def __init__(self, architecture: Mapping[str, str], **sizes: Any) -> None:
        if set(architecture) != set(CHOICES) or not set(architecture.values()) <= set(OPERATIONS):
            raise ValueError(f"an architecture names one of {list(OPERATIONS)} for each of {list(CHOICES)}, not {architecture}")
        super().__init__({choice: [name] for choice, name in architecture.items()}, **sizes)
        self.config = {"architecture": dict(architecture), **sizes}

    def forward(self, image: Tensor) -> Tensor:
        """Class logits (batch, classes) of images (batch, channels, height, width)."""
        return self.run(image, _only_operation)


def _only_operation(choice: str, edge: nn.ModuleDict, x: Tensor) -> Tensor:
    (stages,) = edge.values()
    return run_operation(stages, x)


def pooled_size(image_size: int) -> int:
    """Height and width behind both reduction cells, which round up, and the max-pooling, which rounds down."""
    return -(-image_size // 4) // 2


def load_cells(folder: Path | str) -> ToyCellNetwork:
    """The network that ``save_cells`` wrote to a folder, in eval mode.

    Raises:
        ValueError: the configuration or the weights are not those of such a network.
        OSError: a file is missing.
    """
    folder = Path(folder)
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        # On the meta device a size takes no memory before the weights show that it is true.
        with torch.device("meta"):
            model = ToyCellNetwork(**config)
        model.load_state_dict(load_file(folder / "model.safetensors"), assign=True)
    except OSError:
        raise
    except Exception as error:  # json, torch and safetensors have their own
        raise ValueError(f"{folder} does not hold a toy-cell network: {shorten(str(error), 500)}") from error
    return model.eval()
