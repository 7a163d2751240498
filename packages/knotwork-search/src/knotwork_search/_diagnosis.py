"""Where in a forward pass numbers cease to be finite."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode

FINITE = "the forward pass gives finite numbers, so it is the backward pass that does not"


def origin(module: Any, batches: Sequence[Mapping[str, Tensor]], run: Callable[[Any], Any]) -> str:
    """Say where numbers that are not finite come from: a parameter, the data, or the operation that first gives one.

    Args:
        module: whose parameters and submodules are named.
        batches: what it is run on, one after the other.
        run: the forward pass of a batch, in its precision; run again, without gradients and not compiled.

    Returns:
        What was found; ``FINITE`` where all numbers are finite.
    """
    named = [("the parameter", name, tensor) for name, tensor in module.named_parameters()]
    named += [("the batch's", name, tensor) for batch in batches for name, tensor in batch.items()]
    for kind, name, tensor in named:
        if count := int(_bad(tensor).sum()):
            return f"{kind} {name} holds {count:,} of {tensor.numel():,} values that are not finite"
    told = (_traced(module, partial(run, batch)) for batch in batches)
    return next(filter(None, told), FINITE)


def _traced(module: Any, run: Callable[[], Any]) -> str:
    """What is found in one forward pass; empty where all numbers are finite."""
    trace = _Trace(module)
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
_UNWRITTEN = ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided")
"""What gives memory as it was left."""


class _Trace(TorchFunctionMode):
    """Notes the first operation with an infinite result, and the first with one that is no number.

    An operation's place is the module that is called, or, in a supernet that calls none, the one whose parameter the operation
    takes, or else the last that gave one.
    """

    def __init__(self, module: Any) -> None:
        self.names, self.inside = {id(part): name for name, part in module.named_modules()}, [""]
        self.owners = {id(tensor): name.rpartition(".")[0] or name for name, tensor in module.named_parameters()}
        self.last = ""
        self.infinite, self.no_number = "", ""

    def enter(self, module: nn.Module, _: Any) -> None:
        self.inside.append(self.names.get(id(module)) or self.inside[-1])

    def leave(self, module: nn.Module, _: Any, __: Any) -> None:
        self.inside.pop()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", str(func))
        if self.no_number or name in _UNWRITTEN or not (found := [*_tensors(result)]):
            return result
        owner = next((self.owners[id(a)] for a in (*args, *(kwargs or {}).values()) if id(a) in self.owners), "")
        self.last = owner or self.last
        if inside := self.inside[-1] or owner:
            place = f"{name} in {inside}"
        else:
            place = f"{name} after {self.last}" if self.last else name
        for tensor in found:
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
        return ""


def _bad(tensor: Tensor) -> Tensor:
    return ~tensor.detach().isfinite()


def _tensors(values: Any) -> Iterable[Tensor]:
    for value in values if isinstance(values, tuple | list) else (values,):
        if type(value) in (Tensor, nn.Parameter) and value.is_floating_point():
            yield value
