"""Where in a forward pass numbers cease to be finite."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode


def origin(module: Any, batch: Mapping[str, Tensor], run: Callable[[], Any]) -> str:
    """Say where numbers that are not finite come from: a parameter, the data, or the operation that first gives one.

    Args:
        module: whose parameters and submodules are named.
        batch: what it is run on.
        run: the forward pass; run again, without gradients and not compiled.
    """
    for kind, tensors in (("the parameter", module.named_parameters()), ("the batch's", batch.items())):
        for name, tensor in tensors:
            if count := int(_bad(tensor).sum()):
                return f"{kind} {name} holds {count:,} of {tensor.numel():,} values that are not finite"
    trace = _Trace({id(part): name for name, part in module.named_modules()})
    with ExitStack() as held:
        held.enter_context(torch.no_grad())
        held.enter_context(torch.compiler.set_stance("force_eager"))
        for hook in (register_module_forward_pre_hook(trace.enter), register_module_forward_hook(trace.leave)):
            held.callback(hook.remove)
        held.enter_context(trace)
        run()
    return trace.told()


_MASKING = ("masked_fill", "masked_fill_", "full", "full_like", "fill_", "where", "new_full")
"""What makes infinite values on purpose."""


class _Trace(TorchFunctionMode):
    """Notes the first operation with an infinite result, and the first with one that is no number."""

    def __init__(self, names: Mapping[int, str]) -> None:
        self.names, self.inside = names, [""]
        self.infinite, self.no_number = "", ""

    def enter(self, module: nn.Module, _: Any) -> None:
        self.inside.append(self.names.get(id(module)) or self.inside[-1])

    def leave(self, module: nn.Module, _: Any, __: Any) -> None:
        self.inside.pop()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if self.no_number:
            return result
        name = getattr(func, "__name__", str(func))
        place = f"{name} in {self.inside[-1]}" if self.inside[-1] else name
        for tensor in _tensors(result):
            if tensor.isnan().any():
                self.no_number = place
            elif not self.infinite and name not in _MASKING and tensor.isinf().any():
                self.infinite = place
        return result

    def told(self) -> str:
        if self.no_number:
            before = f", after the first infinite one in {self.infinite}" if self.infinite else ""
            return f"the first value that is not a number arises in {self.no_number}{before}"
        if self.infinite:
            return f"the first infinite value arises in {self.infinite}"
        return "the forward pass gives finite numbers, so it is the backward pass that does not"


def _bad(tensor: Tensor) -> Tensor:
    return ~tensor.detach().isfinite()


def _tensors(values: Any) -> Iterable[Tensor]:
    for value in values if isinstance(values, tuple | list) else (values,):
        if type(value) in (Tensor, nn.Parameter) and value.is_floating_point():
            yield value
