"""A supernet small enough to enumerate: a residual MLP whose width, depth and per-layer ratio are searched, with exact cost."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from knotwork_ops import (
    DEPTH,
    Architecture,
    Choice,
    EntangledLinear,
    HardSample,
    MixedDepth,
    Mixture,
    SearchSpace,
    Selection,
    SlicedDepth,
    SlicedWidth,
    Width,
    mlp_width,
    prefix_width,
    run_layers,
)
from torch import Tensor, nn

INPUTS = 3
FLAT_LAYERS = 2  # of a space without a depth

PER_LAYER = SearchSpace((Choice("width", (2, 4, 6)), Choice(DEPTH, (1, 2, 3)), Choice("ratio", (1, 2, 3), layers=3)))
UNIFORM = SearchSpace((Choice("width", (2, 4, 6)), Choice("ratio", (1, 2, 3))))
FIXED_DEPTH = SearchSpace((Choice("ratio", (1, 2, 3), layers=2), Choice("width", (2, 4))))
SPACES = {"per layer": PER_LAYER, "uniform": UNIFORM, "fixed depth": FIXED_DEPTH}


def whole(choice: Choice) -> tuple[int, ...]:
    return tuple(int(option) for option in choice.options)


class Toy(nn.Module):
    """Regression of ``y`` on ``x``. Set ``seen`` to a list to note (weights are trained, ids) of every loss asked for."""

    def __init__(self, space: SearchSpace = PER_LAYER, seed: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        self.space, self.dropout = space, dropout
        self.layers = whole(space[DEPTH])[-1] if DEPTH in space else FLAT_LAYERS
        widest = whole(space["width"])[-1]
        hidden = widest * whole(space["ratio"])[-1]
        self.embed = EntangledLinear(INPUTS, widest)
        self.up = nn.ModuleList(EntangledLinear(widest, hidden) for _ in range(self.layers))
        self.down = nn.ModuleList(EntangledLinear(hidden, widest) for _ in range(self.layers))
        self.head = EntangledLinear(widest, 1)
        self.seen: list[tuple[bool, list[int]]] | None = None
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(0.4 * torch.randn(parameter.shape, generator=generator))

    def forward(self, x: Tensor, arch: Selection) -> Tensor:
        chosen = HardSample(arch) if isinstance(arch, Architecture) else arch
        width = self._width(chosen)
        blocks = [lambda x, layer=layer: self._block(x, layer, chosen, width) for layer in range(self.layers)]
        x = run_layers(self.embed(x, outputs=width), blocks, self._depth(chosen))
        x = nn.functional.dropout(x, self.dropout, self.training)
        return self.head(x, inputs=width).squeeze(-1)

    def loss(self, batch: Mapping[str, Tensor], arch: Selection) -> Tensor:
        if self.seen is not None:
            self.seen.append((self.head.weight.requires_grad, batch["id"].tolist()))
        return (self(batch["x"], arch) - batch["y"]).square().mean()

    def teach(self, batch: Mapping[str, Tensor], arch: Architecture) -> tuple[Tensor, dict[str, Tensor]]:
        if self.seen is not None:
            self.seen.append((self.head.weight.requires_grad, batch["id"].tolist()))
        predicted = self(batch["x"], arch)
        return (predicted - batch["y"]).square().mean(), {**batch, "y": predicted.detach()}

    def metrics(self, batch: Mapping[str, Tensor], arch: Selection) -> dict[str, Tensor]:
        error = self(batch["x"], arch) - batch["y"]
        return {"loss": error.square().mean(), "error": error.abs().mean()}

    def cost(self, arch: Mixture | Architecture) -> dict[str, Tensor]:
        """Parameters, and multiplications: both multilinear, so that independent choices are expected option by option."""
        mixture = Mixture.one_hot(self.space, arch) if isinstance(arch, Architecture) else arch
        width = mixture["width"]
        device = width.device
        w = torch.tensor(self.space["width"].options, dtype=torch.float64, device=device)
        r = torch.tensor(self.space["ratio"].options, dtype=torch.float64, device=device)
        params, flops = width.double() @ ((INPUTS + 2) * w + 1), width.double() @ ((INPUTS + 1) * w)
        for layer in range(self.layers):
            pair = width.double()[:, None] * mixture.at("ratio", layer).double() * self._reached(mixture, layer)
            squares = 2 * w[:, None] ** 2 * r
            params = params + (pair * (squares + w[:, None] * r + w[:, None])).sum()
            flops = flops + (pair * squares).sum()
        return {"params": params, "flops": flops}

    def extract(self, arch: Architecture) -> nn.Module:
        raise NotImplementedError("the search never extracts")

    def _reached(self, mixture: Mixture, layer: int) -> Tensor | float:
        if DEPTH not in self.space:
            return 1.0
        deep_enough = [number for number, depth in enumerate(whole(self.space[DEPTH])) if depth > layer]
        return mixture[DEPTH][deep_enough].double().sum()

    def _width(self, chosen: Mixture | HardSample) -> Width:
        if isinstance(chosen, Mixture):
            return prefix_width("width", chosen["width"], whole(self.space["width"]))
        return SlicedWidth("width", chosen.architecture["width"], chosen.factor_at("width", 0))

    def _depth(self, chosen: Mixture | HardSample) -> MixedDepth | SlicedDepth:
        if DEPTH not in self.space:
            return SlicedDepth(self.layers)
        if isinstance(chosen, Mixture):
            return MixedDepth(chosen[DEPTH], whole(self.space[DEPTH]))
        return SlicedDepth(chosen.architecture[DEPTH], chosen.factor_at(DEPTH, 0))

    def _block(self, x: Tensor, layer: int, chosen: Mixture | HardSample, width: Width) -> Tensor:
        ratios = self.space["ratio"].numbers
        if isinstance(chosen, Mixture):
            hidden = mlp_width(width, ratios, chosen.at("ratio", layer))
        else:
            hidden = mlp_width(width, ratios, chosen.architecture.at("ratio", layer), chosen.factor_at("ratio", layer))
        return x + self.down[layer](torch.tanh(self.up[layer](x, width, hidden)), hidden, width)


def numbered(count: int, first: int = 0) -> list[dict[str, Tensor]]:
    """Items of a regression, map-style, that carry their number."""
    x = torch.randn(count, INPUTS, generator=torch.Generator().manual_seed(first))
    y = torch.sin(x.sum(-1))
    return [{"x": x[i], "y": y[i], "id": torch.tensor(first + i)} for i in range(count)]


class Stream:
    """The same items without a length."""

    def __init__(self, items: list[dict[str, Tensor]]) -> None:
        self.items = items

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        return iter(self.items)


def one_batch(count: int = 8, first: int = 0) -> dict[str, Tensor]:
    items = numbered(count, first)
    return {name: torch.stack([item[name] for item in items]) for name in items[0]}


def every_architecture(space: SearchSpace) -> list[Architecture]:
    """All architectures, by brute force."""
    uniform = [choice for choice in space if not choice.per_layer]
    found = []
    for options in itertools.product(*(choice.options for choice in uniform)):
        values: dict[str, Any] = {choice.name: option for choice, option in zip(uniform, options, strict=True)}
        per_layer = [
            (choice.name, list(itertools.product(choice.options, repeat=space.layers_used(choice, values) or 0)))
            for choice in space
            if choice.per_layer
        ]
        for rows in itertools.product(*(rows for _, rows in per_layer)):
            found.append(space.architecture(values | {name: row for (name, _), row in zip(per_layer, rows, strict=True)}))
    return found


def random_mixture(space: SearchSpace, seed: int) -> Mixture:
    generator = torch.Generator().manual_seed(seed)
    return Mixture(space, {c.name: torch.randn(c.shape, generator=generator).softmax(-1) for c in space})


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in module.named_parameters()}


def same(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
