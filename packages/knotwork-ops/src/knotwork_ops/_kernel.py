"""How the kernel of a convolution is used: a smaller one is the centred window of the largest (TangleNAS, section 3)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from knotwork_ops._profiles import scaled
from knotwork_ops._tables import window_table


@dataclass(frozen=True, eq=False)
class MixedKernel:
    """Kernels of every size superposed: ``W = sum_i a_i pad(W_i)``, ``W_i`` the centred window of size i.

    Attributes:
        weights: ``(sizes,)``, the mixture weights a.
        sizes: odd and ascending; the last is the size of the stored kernel.

    Raises:
        ValueError: sizes that are not odd, so that they share no centre, or not ascending.
    """

    weights: Tensor
    sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        if any(size % 2 == 0 for size in self.sizes) or list(self.sizes) != sorted(set(self.sizes)):
            raise ValueError(f"kernel sizes are {list(self.sizes)}: they must be odd, to share a centre, and ascending")

    def take(self, weight: Tensor) -> Tensor:
        """The superposed kernel, of the largest size, from ``(..., size, size)``."""
        _check(weight, self.sizes[-1], exactly=True)
        table = window_table(self.sizes, self.weights.dtype, self.weights.device)
        return scaled(weight, (self.weights[:, None, None] * table).sum(0))


@dataclass(frozen=True)
class SlicedKernel:
    """The kernel of one size. Raises ValueError for a size that is not odd."""

    size: int

    def __post_init__(self) -> None:
        if self.size < 1 or self.size % 2 == 0:
            raise ValueError(f"kernel size is {self.size}: it must be odd, to share a centre with the others")

    def take(self, weight: Tensor) -> Tensor:
        """The centred window of the stored kernel ``(..., largest, largest)``, a view."""
        _check(weight, self.size, exactly=False)
        edge = (weight.shape[-1] - self.size) // 2
        return weight[..., edge : edge + self.size, edge : edge + self.size]


Kernel = MixedKernel | SlicedKernel


def _check(weight: Tensor, size: int, *, exactly: bool) -> None:
    height, width = weight.shape[-2:]
    if height != width or height % 2 == 0 or height < size or (exactly and height != size):
        raise ValueError(f"kernels up to size {size} cannot be windows of a stored kernel of {height} x {width}")
