"""What a model is compared on: token ids or images, and the logits that a supernet computes for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SEQUENCES, MAX_TOKENS = 2, 64
IMAGES = 2


@dataclass(frozen=True, eq=False)
class Reference:
    """A model's inputs and, where a supernet computed them, its logits; both on the CPU.

    Attributes:
        inputs: token ids (batch, tokens), int64; or images (batch, channels, height, width), in the model's precision.
        logits: (batch, tokens, vocabulary) or (batch, classes); None where there are none.
    """

    inputs: Tensor
    logits: Tensor | None


def token_reference(model: PreTrainedModel, ids: Tensor | None, logits: Tensor | None) -> Reference:
    """The given reference, checked against the model's sizes; random ids from a private generator when there are none.

    Raises:
        ValueError: ids or logits of a shape, type or range that the model cannot have computed, or logits without ids.
    """
    vocabulary, longest = int(model.config.vocab_size), _longest(model)
    if ids is None:
        if logits is not None:
            raise ValueError("reference_logits were given without reference_ids: pass the token ids they were computed on")
        size = (SEQUENCES, min(longest, MAX_TOKENS))
        return Reference(torch.randint(vocabulary, size, generator=_generator(), device="cpu"), None)
    if ids.ndim != 2 or ids.is_floating_point() or not ids.numel() or ids.shape[1] > longest:
        raise ValueError(
            f"reference_ids have shape {tuple(ids.shape)} and type {ids.dtype}: expected whole numbers (batch, tokens), "
            f"1 to {longest} tokens"
        )
    if ids.min() < 0 or ids.max() >= vocabulary:
        raise ValueError(
            f"reference_ids go from {int(ids.min())} to {int(ids.max())}: the model's vocabulary is 0 to {vocabulary - 1}"
        )
    if logits is not None and logits.shape != (*ids.shape, vocabulary):
        raise ValueError(
            f"reference_logits have shape {tuple(logits.shape)}: expected (batch, tokens, vocabulary) = "
            f"{(*ids.shape, vocabulary)}"
        )
    return Reference(ids.detach().to("cpu", torch.int64), None if logits is None else logits.detach().cpu())


def image_reference(
    size: tuple[int, int, int], classes: int, dtype: torch.dtype, images: Tensor | None, logits: Tensor | None
) -> Reference:
    """The given reference, checked against the model's sizes; random images from a private generator when there are none.

    Args:
        size: channels, height and width of an image.
        classes: entries of the classifier.
        dtype: the model's precision, which images are brought to.
        images: (batch, channels, height, width), or None.
        logits: (batch, classes), or None.

    Raises:
        ValueError: images or logits of a shape or type that the model cannot have computed, or logits without images.
    """
    if images is None:
        if logits is not None:
            raise ValueError("reference_logits were given without reference_images: pass the images they were computed on")
        # Drawn in float32, so that every precision sees the same images.
        return Reference(torch.randn(IMAGES, *size, generator=_generator(), device="cpu", dtype=torch.float32).to(dtype), None)
    if images.shape[1:] != size or not images.is_floating_point() or not len(images):
        raise ValueError(
            f"reference_images have shape {tuple(images.shape)} and type {images.dtype}: expected floating point "
            f"(batch, channels, height, width) = (1 or more, {', '.join(map(str, size))})"
        )
    if logits is not None and logits.shape != (len(images), classes):
        raise ValueError(
            f"reference_logits have shape {tuple(logits.shape)}: expected (batch, classes) = {(len(images), classes)}"
        )
    # In memory of its own, as a tensor that was read from a file is.
    return Reference(
        images.detach().to("cpu", dtype).clone(memory_format=torch.contiguous_format),
        None if logits is None else logits.detach().cpu(),
    )


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _longest(model: PreTrainedModel) -> int:
    return int(getattr(model.config, "max_position_embeddings", MAX_TOKENS))
