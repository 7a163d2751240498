"""The loss of knowledge distillation against its formula written out, and its limits."""

from __future__ import annotations

import pytest
import torch
from knotwork_tasks.training import distillation_loss
from torch import Tensor
from torch.nn import functional as F

ROWS, CLASSES = 5, 7


@pytest.fixture
def logits() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (3 * torch.randn(ROWS, CLASSES, generator=generator, dtype=torch.float64) for _ in range(2))
    return student.requires_grad_(True), teacher


TARGETS = torch.tensor([0, 3, 6, 2, 2])


def softmax(row: Tensor, temperature: float) -> list[Tensor]:
    powers = [(logit / temperature).exp() for logit in row]
    return [power / sum(powers) for power in powers]


def naive(student: Tensor, teacher: Tensor, targets: Tensor, temperature: float, weight: float) -> Tensor:
    """Hinton et al. 2015, section 2, in loops."""
    total = torch.zeros((), dtype=torch.float64)
    for row in range(len(student)):
        own, soft, wanted = softmax(student[row], 1), softmax(student[row], temperature), softmax(teacher[row], temperature)
        hard = [float(c == targets[row]) for c in range(CLASSES)] if targets.dim() == 1 else targets[row]
        entropy = -sum(hard[c] * own[c].log() for c in range(CLASSES))
        divergence = sum(wanted[c] * (wanted[c].log() - soft[c].log()) for c in range(CLASSES))
        total = total + (1 - weight) * entropy + weight * temperature**2 * divergence
    return total / len(student)


@pytest.mark.parametrize("probabilities", [False, True])
@pytest.mark.parametrize(("temperature", "weight"), [(1.0, 1.0), (2.0, 0.5), (0.5, 0.9), (8.0, 0.3)])
def test_value_and_gradient_are_the_formulas(logits, temperature: float, weight: float, probabilities: bool):
    student, teacher = logits
    targets = torch.rand(ROWS, CLASSES, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    targets = targets / targets.sum(1, keepdim=True) if probabilities else TARGETS
    loss = distillation_loss(student, teacher, targets, temperature, weight)
    expected = naive(student, teacher, targets, temperature, weight)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    (gradient,), (wanted,) = torch.autograd.grad(loss, student), torch.autograd.grad(expected, student)
    torch.testing.assert_close(gradient, wanted, rtol=1e-10, atol=1e-12)


def test_weight_0_is_the_cross_entropy_itself(logits):
    student, teacher = logits
    assert distillation_loss(student, teacher, TARGETS, 3.0, 0.0).equal(F.cross_entropy(student, TARGETS))


def test_a_student_that_predicts_as_its_teacher_has_nothing_to_learn(logits):
    student, _ = logits
    loss = distillation_loss(student, student.detach() + 5.0, TARGETS, 2.0, 1.0)
    (gradient,) = torch.autograd.grad(loss, student)
    assert loss.abs() < 1e-12
    assert gradient.abs().max() < 1e-12


def test_a_high_temperature_matches_centred_logits(logits):
    """Hinton et al. 2015, equation 4: the gradient tends to (student - teacher) / classes for logits of mean zero."""
    student, teacher = logits
    (gradient,) = torch.autograd.grad(distillation_loss(student, teacher, TARGETS, 1e5, 1.0), student)
    centred = student - student.mean(1, keepdim=True) - teacher + teacher.mean(1, keepdim=True)
    torch.testing.assert_close(gradient, (centred / CLASSES / ROWS).detach(), rtol=1e-3, atol=1e-6)


def test_a_low_temperature_leaves_the_teachers_first_choice(logits):
    """T KL of ever sharper predictions tends to the margin by which the student prefers another class than the teacher."""
    student, teacher = logits
    temperature = 1e-3
    loss = distillation_loss(student, teacher, TARGETS, temperature, 1.0) / temperature
    chosen = student.gather(1, teacher.argmax(1, keepdim=True)).squeeze(1)
    torch.testing.assert_close(loss, (student.amax(1) - chosen).mean(), rtol=1e-2, atol=1e-2)


def test_the_teacher_gets_no_gradient_and_half_precision_is_widened(logits):
    student, teacher = (tensor.detach().bfloat16().requires_grad_(True) for tensor in logits)
    loss = distillation_loss(student, teacher, TARGETS, 2.0, 0.5)
    loss.backward()
    assert loss.dtype == torch.float32
    assert teacher.grad is None
    assert student.grad is not None
