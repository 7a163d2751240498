"""With which weights it was chosen: mixtures, and hard samples with their straight-through factors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from knotwork_ops._architecture import Architecture
from knotwork_ops._choices import SearchSpace


@dataclass(frozen=True, eq=False)
class Mixture(Mapping[str, Tensor]):
    """One weight per option for every choice: ``(options,)``, or ``(layers, options)`` for a per-layer choice.

    Weights are non-negative and sum to one over the options. That is the sampler's promise and is not checked here, because
    the check would make an accelerator wait for the host at every step.

    Raises:
        ValueError: a choice is missing or unknown, or its weights have another shape.
    """

    space: SearchSpace
    weights: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        if set(self.weights) != {choice.name for choice in self.space}:
            raise ValueError(
                f"a mixture of this space needs the choices {[c.name for c in self.space]}, not {list(self.weights)}"
            )
        for choice in self.space:
            shape = tuple(self.weights[choice.name].shape)
            if shape != choice.shape:
                raise ValueError(f"mixture of choice {choice.name!r} has shape {shape}: expected {choice.shape}")

    # Mapping compares contents, which tensors cannot do in one truth value.
    __eq__ = object.__eq__
    __hash__ = object.__hash__  # type: ignore[assignment]

    def __getitem__(self, name: str) -> Tensor:
        return self.weights[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.weights)

    def __len__(self) -> int:
        return len(self.weights)

    def at(self, name: str, layer: int) -> Tensor:
        """Weights ``(options,)`` that a layer uses, whether the choice is made once or per layer."""
        weights = self.weights[name]
        return weights[layer] if self.space[name].per_layer else weights

    @classmethod
    def one_hot(
        cls,
        space: SearchSpace,
        architecture: Architecture,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Mixture:
        """All weight on one architecture. Layers beyond its depth, which do not reach the output, hold their first option."""
        space.validate(architecture)
        weights = {}
        for choice in space:
            weight = torch.zeros(choice.shape, dtype=dtype, device=device)
            if choice.layers is None:
                weight[choice.index(architecture[choice.name])] = 1
            else:
                weight[:, 0] = 1
                for layer, option in enumerate(architecture[choice.name]):
                    weight[layer] = 0
                    weight[layer, choice.index(option)] = 1
            weights[choice.name] = weight
        return cls(space, weights)


@dataclass(frozen=True, eq=False)
class HardSample:
    """One architecture, to be run sliced, with a factor of value one per choice that carries the gradient to alpha.

    The factors are GDAS's straight-through weights of the chosen options (Dong & Yang 2019, eq. 6): scalars, or
    ``(layers,)`` for a per-layer choice. A strategy without alphas (SPOS) leaves them out.
    """

    architecture: Architecture
    factors: Mapping[str, Tensor] = field(default_factory=dict)

    def factor_at(self, name: str, layer: int) -> Tensor | None:
        """The factor that a layer uses, or None when the sample carries none."""
        factor = self.factors.get(name)
        if factor is None:
            return None
        return factor[layer] if factor.dim() else factor


Selection = Mixture | HardSample | Architecture
"""What a supernet can be asked to run: superposed weights, or one architecture sliced."""
