"""What several processes agree on."""

from __future__ import annotations

import json
from typing import Any, cast

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor


def shared(value: Any, accelerator: Accelerator) -> Any:
    """The main process's value of JSON in every process; what the others give is not looked at."""
    if accelerator.num_processes == 1:
        return value
    text = json.dumps(value).encode() if accelerator.is_main_process else b""
    length: Any = broadcast(torch.tensor([len(text)], device=accelerator.device))
    content = torch.zeros(int(length), dtype=torch.uint8, device=accelerator.device)
    if accelerator.is_main_process:
        content = torch.frombuffer(bytearray(text), dtype=torch.uint8).to(accelerator.device)
    received: Any = broadcast(content)
    return json.loads(bytes(received.tolist()))


def summed(values: Tensor, accelerator: Accelerator) -> Tensor:
    """The sum over processes of what each gives, in all of them."""
    return values if accelerator.num_processes == 1 else cast(Tensor, accelerator.reduce(values, reduction="sum"))
