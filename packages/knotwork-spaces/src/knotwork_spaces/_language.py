"""What language models share, whatever their family: their loss, what is measured of them, and what text they take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from knotwork_ops import Architecture, Selection, Width, linear, linear_cross_entropy
from torch import Tensor
from torch.nn import functional as F

TEACHER = "teacher"
"""What a batch calls the teacher's last hidden states."""


def plain_metrics(model: Any, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The supernet's metrics of a plain upstream model: ``loss``, the mean next-token cross-entropy in nats.

    Args:
        model: as ``plain_model`` or ``extract`` returns it.
        batch: ``input_ids``: (batch, tokens).
    """
    ids = batch["input_ids"]
    # Autocast runs cross-entropy in float32 whatever the logits' precision.
    return {"loss": F.cross_entropy(model(input_ids=ids[:, :-1]).logits.flatten(0, 1), ids[:, 1:].flatten())}


class LanguageModel:
    """What a supernet that predicts the next token computes from what its head reads; a base beside its module."""

    space: Any
    # Upstream's module, whose attributes torch's types do not know.
    lm_head: Any

    def forward(self, batch: Mapping[str, Tensor], arch: Selection) -> Tensor:
        """The loss, so that wrappers which call the module (data parallelism, compilation) see the whole computation."""
        return self.loss(batch, arch)

    def loss(self, batch: Mapping[str, Tensor], arch: Selection) -> Tensor:
        """Mean next-token cross-entropy in nats, 0-dim.

        Args:
            batch: ``input_ids``: (batch, tokens); as ``teach`` returns it, the mean is that from a teacher's probabilities.
            arch: the mixture, hard sample or architecture to run.
        """
        ids = batch["input_ids"]
        x, embed = self.hidden(ids[:, :-1], arch)
        return self._head_loss(x, batch.get(TEACHER, ids[:, 1:]), embed)

    def teach(self, batch: Mapping[str, Tensor], arch: Architecture) -> tuple[Tensor, dict[str, Tensor]]:
        """An architecture's loss, and the batch with its predictions as targets, for in-place distillation.

        The batch holds what the teacher's head reads, (batch, tokens - 1, embedding), in place of the probabilities of a whole
        vocabulary: use it before the weights change.
        """
        ids = batch["input_ids"]
        x, embed = self.hidden(ids[:, :-1], arch)
        return self._head_loss(x, ids[:, 1:], embed), {**batch, TEACHER: x.detach()}

    def metrics(self, batch: Mapping[str, Tensor], arch: Selection) -> dict[str, Tensor]:
        """What evaluation reports, each a 0-dim mean over the batch: ``loss`` in nats per token."""
        return {"loss": self.loss(batch, arch)}

    def logits(self, input_ids: Tensor, arch: Selection) -> Tensor:
        """Next-token logits.

        Args:
            input_ids: (batch, tokens), at most ``space.block_size`` tokens.
            arch: the mixture, hard sample or architecture to run.

        Returns:
            (batch, tokens, vocabulary).

        Raises:
            ValueError: more tokens than a block holds, or an architecture of another space.
        """
        x, embed = self.hidden(input_ids, arch)
        return linear(x, self.lm_head.weight, None, inputs=embed)

    def hidden(self, input_ids: Tensor, arch: Selection) -> tuple[Tensor, Width]:
        """What the head reads, (batch, tokens, embedding), and how it uses it."""
        raise NotImplementedError

    def timed_input(self) -> dict[str, Tensor]:
        """Keyword arguments of an extracted model's pass over one block of text: ``input_ids``, (1, ``block_size``)."""
        shape = (1, self.space.block_size)
        return {"input_ids": torch.randint(self.space.vocab_size, shape, generator=torch.Generator().manual_seed(0))}

    def check_tokens(self, input_ids: Tensor) -> None:
        """Raise ValueError for more tokens than a block holds."""
        if input_ids.shape[1] > self.space.block_size:
            raise ValueError(f"{input_ids.shape[1]} tokens are more than the space's block_size {self.space.block_size}")

    def _head_loss(self, x: Tensor, targets: Tensor, embed: Width) -> Tensor:
        return linear_cross_entropy(x.flatten(0, 1), self.lm_head.weight, targets.flatten(0, 1), inputs=embed)
