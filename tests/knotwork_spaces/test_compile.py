"""What a compiled layer keeps for its backward pass."""

import pytest
import torch
from knotwork_spaces import _compile
from knotwork_spaces._compile import compile_layer
from torch import Tensor, nn

from .comparison import compiling


def activated(block: nn.Linear, x: Tensor) -> Tensor:
    return nn.functional.linear(torch.tanh(x * 2), block.weight * 3)


def kept(recompute: bool) -> int:
    """Entries kept that are neither the input nor the weight."""
    block, x = nn.Linear(8, 8, bias=False), torch.randn(64, 8, requires_grad=True)
    sizes = {}

    def note(tensor: Tensor) -> Tensor:
        sizes[tensor.data_ptr()] = tensor.numel()
        return tensor

    torch._dynamo.reset()
    layer = compile_layer(activated, backend="aot_eager_decomp_partition", recompute=recompute)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        y = layer(block, x)
    y.sum().backward()
    assert x.grad is not None
    expected = torch.autograd.grad(activated(block, x).sum(), x)[0]
    torch.testing.assert_close(x.grad, expected)
    torch._dynamo.reset()
    return sum(size for pointer, size in sizes.items() if pointer not in (x.data_ptr(), block.weight.data_ptr()))


@compiling
def test_what_is_cheap_is_computed_again():
    assert kept(recompute=True) < kept(recompute=False)


def test_a_torch_too_old_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_compile, "OLDEST", "99.1")
    with pytest.raises(ValueError, match=f"needs torch 99.1 or newer, and this is {torch.__version__.split('+')[0]}"):
        compile_layer(activated)
