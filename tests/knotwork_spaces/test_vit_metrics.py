"""What an image classifier is measured by: cross-entropy, and accuracies counted one image at a time."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from knotwork_ops import HardSample, Mixture
from knotwork_spaces import family
from knotwork_spaces.vit import plain_metrics
from torch import Tensor, nn

from .comparison import assert_close, random_alphas
from .vit_cases import images, tiny_vit, vit_supernet


class Given(nn.Module):
    """A model whose logits are its images."""

    def forward(self, image: Tensor) -> Tensor:
        return image


def metrics_of(logits: Tensor, label: Tensor) -> dict[str, Tensor]:
    return plain_metrics(Given(), {"image": logits, "label": label})


def naive(logits: Tensor, label: Tensor) -> dict[str, float]:
    loss, top1, top5 = 0.0, 0, 0
    for row, wanted in zip(logits.tolist(), label.tolist(), strict=True):
        loss += math.log(sum(math.exp(value) for value in row)) - row[wanted]
        better = sum(value > row[wanted] for value in row)
        top1, top5 = top1 + (better < 1), top5 + (better < 5)
    count = len(logits)
    return {"loss": loss / count, "top1": top1 / count, "top5": top5 / count}


@settings(max_examples=40, derandomize=True, deadline=None)
@given(batch=st.integers(1, 9), classes=st.integers(1, 12), seed=st.integers(0, 2**31 - 1))
def test_metrics_are_counted_one_by_one(batch: int, classes: int, seed: int):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, classes, generator=generator, dtype=torch.float64)
    label = torch.randint(classes, (batch,), generator=generator)
    found = metrics_of(logits, label)
    assert list(found) == ["loss", "top1", "top5"]
    assert all(value.dim() == 0 for value in found.values())
    for name, expected in naive(logits, label).items():
        assert found[name].item() == pytest.approx(expected, rel=1e-6, abs=1e-12), name


@pytest.mark.parametrize("classes", [1, 2, 5])
def test_with_up_to_five_classes_the_label_is_always_among_five(classes: int):
    logits = torch.randn(6, classes, generator=torch.Generator().manual_seed(0))
    found = metrics_of(logits, torch.arange(6) % classes)
    assert found["top5"].item() == 1
    assert found["top1"].item() == pytest.approx(naive(logits, torch.arange(6) % classes)["top1"])


def test_the_sixth_likeliest_is_not_among_five():
    logits = torch.tensor([[6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0]]).repeat(3, 1)
    found = metrics_of(logits, torch.tensor([0, 4, 5]))
    assert (found["top1"].item(), found["top5"].item()) == pytest.approx((1 / 3, 2 / 3))


def test_soft_labels_have_a_loss_and_no_accuracy():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 7, generator=generator, dtype=torch.float64)
    label = torch.rand(4, 7, generator=generator, dtype=torch.float64)
    label = label / label.sum(-1, keepdim=True)
    found = metrics_of(logits, label)
    assert list(found) == ["loss"]
    assert_close(found["loss"], -(label * logits.log_softmax(-1)).sum() / 4, "loss")
    hard = torch.tensor([1, 0, 6, 2])
    assert_close(metrics_of(logits, torch.eye(7, dtype=torch.float64)[hard])["loss"], metrics_of(logits, hard)["loss"], "loss")


def test_the_loss_carries_gradients_and_the_accuracies_do_not():
    logits = torch.randn(4, 7, requires_grad=True)
    found = metrics_of(logits, torch.tensor([1, 0, 6, 2]))
    assert {name: value.requires_grad for name, value in found.items()} == {"loss": True, "top1": False, "top5": False}


@pytest.mark.parametrize(
    "label", [torch.tensor([3, 0, 6, 3]), torch.full((4, 7), 1 / 7, dtype=torch.float64)], ids=["hard", "soft"]
)
def test_a_supernet_measures_what_its_plain_models_measure(label: Tensor):
    space = tiny_vit(["num_heads"])
    supernet, image = vit_supernet(space), images(space, batch=4)
    batch = {"image": image, "label": label}
    for arch in (space.smallest, space.largest):
        expected = family("vit").plain_metrics(supernet.extract(arch), batch)
        for selection in (arch, HardSample(arch), Mixture.one_hot(space, arch, dtype=torch.float64)):
            found = supernet.metrics(batch, selection)
            assert found.keys() == expected.keys()
            for name, value in found.items():
                assert_close(value, expected[name], name)
    mixture = Mixture(space, {name: alpha.softmax(-1) for name, alpha in random_alphas(space).items()})
    expected = metrics_of(supernet.logits(image, mixture), label)
    for name, value in supernet.metrics(batch, mixture).items():
        assert_close(value, expected[name], name)
