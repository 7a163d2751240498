"""One variant of bench, in this process: its steps timed, then their peak memory measured.

python tools/bench_cells.py '{"space": {...}, "variant": "c", "device": "cpu", "batch_size": 8, "compile": false}'

Prints one line of JSON: seconds of the timed steps, their median, bytes, and the machine; or the error.
"""

from __future__ import annotations

import ctypes
import gc
import json
import platform
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import torch
from bench_naive import naive_loss
from knotwork_ops import Architecture, Mixture, SearchSpace, Selection
from knotwork_search import initial_alphas, strategy
from knotwork_search._gradients import frozen
from knotwork_spaces import family, space_from_dict
from torch import Tensor

WARM_UP, WARM_UP_COMPILED, TIMED, MEASURED = 3, 5, 7, 3
"""Steps before the clock, until a compiled variant has met what it specialises on; with it; and under memory measurement."""
STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
SLACK = 4 * 2**20
"""Bytes by which a peak that was just reset may stand above the memory in use: the kernel counts in batches."""


@dataclass(frozen=True)
class Case:
    """A variant built.

    Attributes:
        step: one forward and backward pass, given the step's number.
        leaves: what the step leaves gradients in.
        compiled: whether it compiles.
    """

    step: Callable[[int], None]
    leaves: Sequence[Tensor]
    compiled: bool = False

    def run(self, number: int) -> None:
        """A step that starts without gradients."""
        self.drop_gradients()
        self.step(number)

    def drop_gradients(self) -> None:
        for leaf in self.leaves:
            leaf.grad = None


def main() -> None:
    """Measure the job's variant."""
    try:
        result = measure(json.loads(sys.argv[1]))
    except Exception as error:
        traceback.print_exc()
        result = {"error": f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"}
    print(json.dumps(result))


def measure(job: Mapping[str, Any]) -> dict[str, Any]:
    """Build, warm up, time and measure a job's variant."""
    device = torch.device(job["device"])
    torch.manual_seed(0)
    case = build(job)
    warm_up = WARM_UP_COMPILED if case.compiled else WARM_UP
    for number in range(warm_up):
        case.run(number)
    times = [timed_step(case, number, device) for number in range(warm_up, warm_up + TIMED)]
    memory = peak_memory(case, device)
    return {"time": statistics.median(times), "times": times, "memory": memory, "machine": machine(job, device)}


def build(job: Mapping[str, Any]) -> Case:
    """The case of a job's variant; bench lists what they are."""
    space, variant = space_from_dict(job["space"]), job["variant"]
    batch = random_batch(space, job["batch_size"], job["device"])
    if variant in ("a", "a'"):
        return _plain(space, space.largest, batch, compiled=variant == "a'")
    if variant == "g":
        return _plain(space, middle(space), batch, compiled=False)
    if variant == "b":
        return _padded_sums(space, batch)
    if variant == "c":
        return _weight_step(space, batch, compiled=job["compile"])
    if variant == "d":
        return _architecture_step(space, batch, compiled=job["compile"])
    if variant == "e":
        narrow = only_largest(space)
        ones = {choice.name: torch.ones(choice.shape, device=job["device"]) for choice in narrow}
        return _fixed(narrow, Mixture(narrow, ones), batch, compiled=job["compile"])
    if variant == "f":
        return _fixed(space, middle(space), batch, compiled=job["compile"])
    raise ValueError(f"unknown variant {variant!r}")


def random_batch(space: Any, size: int, device: str) -> dict[str, Tensor]:
    """Full blocks of random tokens (one more, which is only predicted), or random images with random labels."""
    if space.family == "gpt2":
        return {"input_ids": torch.randint(space.vocab_size, (size, space.block_size + 1), device=device)}
    image = torch.randn(size, space.channels, space.image_size, space.image_size, device=device)
    return {"image": image, "label": torch.randint(space.num_classes, (size,), device=device)}


def middle(space: SearchSpace) -> Architecture:
    """The middle option of every choice; of an even number the upper one."""
    return space.architecture({choice.name: choice.options[len(choice.options) // 2] for choice in space})


def only_largest(space: SearchSpace) -> SearchSpace:
    """The space whose only architecture is the largest."""
    values = space.as_dict()
    choices = {name: {**choice, "options": choice["options"][-1:]} for name, choice in values["choices"].items()}
    return space_from_dict({**values, "choices": choices})


def _plain(space: Any, architecture: Architecture, batch: Mapping[str, Tensor], *, compiled: bool) -> Case:
    kind = family(space.family)
    model = kind.plain_model(space, architecture).to(_device(batch)).train()
    called = torch.compile(model) if compiled else model
    return Case(lambda _: kind.plain_metrics(called, batch)["loss"].backward(), list(model.parameters()), compiled)


def _padded_sums(space: Any, batch: Mapping[str, Tensor]) -> Case:
    """A weight step as the paper's code takes it: its mixture is drawn with gradients, which the alphas get and nobody uses."""
    supernet = _supernet(space, batch, compiled=False)
    alphas, drnas = initial_alphas(space, seed=0, device=_device(batch)), strategy("drnas", space, 1)

    def step(number: int) -> None:
        naive_loss(supernet, batch, cast(Mixture, drnas.sample(alphas, number))).backward()

    return Case(step, [*supernet.parameters(), *alphas.values()])


def _weight_step(space: Any, batch: Mapping[str, Tensor], *, compiled: bool) -> Case:
    """A weight step: the mixture is drawn without gradients, as the search does."""
    supernet = _supernet(space, batch, compiled=compiled)
    alphas, drnas = initial_alphas(space, seed=0, device=_device(batch)), strategy("drnas", space, 1)

    def step(number: int) -> None:
        with torch.no_grad():
            mixture = drnas.sample(alphas, number)
        supernet.loss(batch, mixture).backward()

    return Case(step, [*supernet.parameters(), *alphas.values()], compiled)


def _architecture_step(space: Any, batch: Mapping[str, Tensor], *, compiled: bool) -> Case:
    """An architecture step without the budget's penalty: gradients of the alphas alone, as the search does."""
    supernet = _supernet(space, batch, compiled=compiled)
    alphas, drnas = initial_alphas(space, seed=0, device=_device(batch)), strategy("drnas", space, 1)

    def step(number: int) -> None:
        with frozen(supernet):
            supernet.loss(batch, drnas.sample(alphas, number)).backward()

    return Case(step, [*supernet.parameters(), *alphas.values()], compiled)


def _fixed(space: Any, arch: Selection, batch: Mapping[str, Tensor], *, compiled: bool) -> Case:
    """A weight step of the same mixture or architecture every time."""
    supernet = _supernet(space, batch, compiled=compiled)
    return Case(lambda _: supernet.loss(batch, arch).backward(), list(supernet.parameters()), compiled)


def _supernet(space: Any, batch: Mapping[str, Tensor], *, compiled: bool) -> Any:
    supernet = family(space.family).supernet(space).to(_device(batch)).train()
    if compiled:
        supernet.compile()
    return supernet


def _device(batch: Mapping[str, Tensor]) -> torch.device:
    return next(iter(batch.values())).device


def timed_step(case: Case, number: int, device: torch.device) -> float:
    """Seconds of a step; what it launched is waited for."""
    case.drop_gradients()
    _synchronise(device)
    start = time.perf_counter()
    case.step(number)
    _synchronise(device)
    return time.perf_counter() - start


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory(case: Case, device: torch.device) -> int | None:
    """Bytes that steps need above the resting process, gradients included; None where that cannot be measured."""
    case.drop_gradients()
    gc.collect()
    if device.type == "cuda":
        _synchronise(device)
        rest = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        _measured_steps(case)
        _synchronise(device)
        return torch.cuda.max_memory_allocated(device) - rest
    rest = rest_with_peak_reset()
    if rest is None:
        return None
    _measured_steps(case)
    return resident("VmHWM") - rest


def rest_with_peak_reset() -> int | None:
    """Bytes resident now, from where the peak starts anew; None where the system does not offer that."""
    try:
        # What the allocator keeps for later would otherwise count as resting memory.
        ctypes.CDLL(None).malloc_trim(0)
        rest = resident("VmRSS")
        CLEAR_REFS.write_text("5")
        peak = resident("VmHWM")
    except (OSError, AttributeError, LookupError):
        return None
    # Some sandboxes take the request and do nothing.
    return rest if peak <= rest + SLACK else None


def _measured_steps(case: Case) -> None:
    for number in range(MEASURED):
        case.run(number)


def resident(field: str) -> int:
    """Bytes of a field of this process's status: ``VmRSS`` is resident now, ``VmHWM`` the most since the last reset.

    Raises:
        OSError, LookupError: the system has no such file or field.
    """
    lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    return int(lines[field].split()[0]) * 1024


def machine(job: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """What a timing depends on, without the host's name."""
    upstream = {"gpt2": "transformers", "vit": "timm"}[job["space"]["family"]]
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    libraries = {"python": platform.python_version(), "torch": torch.__version__, upstream: version(upstream)}
    return {**libraries, "threads": torch.get_num_threads(), "device": name}


def processor() -> str:
    """The CPU's model as Linux tells it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
