"""One value in every process."""

from __future__ import annotations

import json
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast


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
