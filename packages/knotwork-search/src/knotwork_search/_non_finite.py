"""Steps whose loss or gradient is not a finite number: skipped, counted, and after ten in a row the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

IN_A_ROW = 10
"""Skipped steps in a row that end a run."""
LOOK_EVERY = 10
"""Steps between two looks at the losses, where looking makes the host wait for the device."""


class DivergedError(RuntimeError):
    """Step after step the loss was not a finite number. The weights are those before, and so is the newest checkpoint."""


def step_if_finite(optimiser: Any, finite: Tensor) -> None:
    """Take an optimiser's step, or leave weights and moments as they are.

    Args:
        optimiser: one of torch's, perhaps in the accelerator's wrapper. A fused one decides on the device.
        finite: bool, 0-dim.
    """
    inner = getattr(optimiser, "optimizer", optimiser)
    if getattr(inner, "defaults", {}).get("fused"):
        inner.found_inf = (~finite).float()
        optimiser.step()
        inner.__dict__.pop("found_inf", None)
    elif finite:
        optimiser.step()
    elif (scaler := getattr(optimiser, "scaler", None)) is not None:
        # Its account of the gradients ends with the step, or it would refuse those of the next.
        scaler.update(scaler.get_scale())


class NonFiniteSteps:
    """Counts the steps of a run that were skipped.

    Args:
        device: whose losses they are.
        notify: told of the first of several in a row.

    Attributes:
        total: steps skipped.
        in_a_row: of these the last ones, if nothing came after them.
    """

    def __init__(self, device: torch.device, notify: Callable[[str], None]) -> None:
        self.total, self.in_a_row = 0, 0
        self._every = 1 if device.type == "cpu" else LOOK_EVERY
        self._notify = notify
        self._waiting: list[tuple[int, Tensor]] = []

    def note(self, step: int, *losses: Tensor) -> None:
        """Note the losses of a step, 0-dim; one that was skipped has a loss that is not finite."""
        self._waiting.append((step, torch.stack(losses).isfinite().all()))
        if len(self._waiting) >= self._every:
            self.look()

    def look(self) -> None:
        """Count what was noted."""
        for step, finite in self._waiting:
            if finite:
                self.in_a_row = 0
                continue
            self.total += 1
            self.in_a_row += 1
            if self.in_a_row == 1:
                self._notify(f"step {step}: the loss or its gradient is not a finite number: the step is skipped")
        self._waiting.clear()

    def in_order(self) -> bool:
        """Whether the last step was not skipped: weights that may be amiss already do not replace a good checkpoint."""
        self.look()
        return self.in_a_row == 0

    def stop_if_diverged(self, step: int, where: Callable[[], str]) -> None:
        """Raise DivergedError when too many steps in a row were skipped.

        Args:
            step: steps done.
            where: finds out where numbers cease to be finite.
        """
        if self.in_a_row >= IN_A_ROW:
            raise DivergedError(
                f"the loss or its gradient was not a finite number in {self.in_a_row} steps in a row, up to step {step - 1}: "
                f"{where()}. The weights of before are in the newest checkpoint. Try a lower --learning-rate"
            )
