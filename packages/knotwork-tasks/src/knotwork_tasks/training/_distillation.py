"""Learning from labels and a teacher at once: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def distillation_loss(student: Tensor, teacher: Tensor, targets: Tensor, temperature: float, weight: float) -> Tensor:
    """``(1 - w) CE(targets, student) + w T^2 KL(softmax(teacher / T) || softmax(student / T))``, in nats, 0-dim.

    Both parts are means over the rows. Softening divides the gradient by ``T^2``, which the factor makes up for, so that the
    weight means the same at every temperature (at the end of the paper's section 2). With weight 0 it is the cross-entropy
    itself. The teacher gets no gradient.

    Args:
        student: logits, (rows, classes).
        teacher: logits, (rows, classes).
        targets: (rows,) class numbers, or (rows, classes) probabilities.
        temperature: T, above 0.
        weight: w, from 0 to 1.
    """
    student, teacher = _precise(student), _precise(teacher.detach())
    own = F.cross_entropy(student, targets)
    if weight == 0:
        return own
    soft, wanted = F.log_softmax(student / temperature, -1), F.log_softmax(teacher / temperature, -1)
    divergence = F.kl_div(soft, wanted, reduction="batchmean", log_target=True)
    return (1 - weight) * own + weight * temperature**2 * divergence


def _precise(logits: Tensor) -> Tensor:
    """Logits in float32 at least: half precision holds no small probability."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
