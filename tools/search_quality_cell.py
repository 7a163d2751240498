"""One cell of search_quality: train an architecture from scratch, or evaluate many with a supernet's weights.

python tools/search_quality_cell.py train RUN RESULT ARCHITECTURE-JSON SEED STEPS RATE
python tools/search_quality_cell.py inherit RUN RESULT ARCHITECTURES-FILE

An empty RATE means the learning rate of the run.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from knotwork_ops import Architecture
from knotwork_search import RunFolder, batches, costs, evaluate, fixed_batches, load_checkpoint, write_atomically
from knotwork_search._optimisers import cosine, set_learning_rate, weight_optimiser
from knotwork_search.text import load_text, load_tokenizer, token_blocks
from knotwork_spaces import family, space_from_dict
from knotwork_spaces.gpt2 import plain_model
from torch.nn import functional as F

VALIDATION_BATCHES = 64


def main() -> None:
    """Compute the cell and write its result."""
    kind, run, result, what, *training = sys.argv[1:]
    folder = RunFolder(run)
    space: Any = space_from_dict(json.loads(folder.space.read_text()))
    config = folder.read_config()
    text = load_text(config["dataset"], text_column=config["text_column"])
    tokenizer = load_tokenizer(str(folder.tokenizer), text.train)
    accelerator = Accelerator(cpu=True)
    held_out = token_blocks(text.validation, tokenizer, space.block_size)
    validation = fixed_batches(held_out, config["batch_size"], VALIDATION_BATCHES, accelerator.device)
    supernet = family("gpt2")[1](space)
    if kind == "inherit":
        tensors, _ = load_checkpoint(folder.checkpoints)
        with torch.no_grad():
            for name, parameter in supernet.named_parameters():
                parameter.copy_(tensors[f"supernet.{name}"])
        architectures = [space.architecture(values) for values in json.loads(Path(what).read_text())]
        values: Any = {a.to_json(): evaluate(supernet, validation, a, accelerator)["loss"] for a in architectures}
    else:
        architecture = Architecture.from_json(what, space)
        seed, steps, rate = training
        config["learning_rate"] = float(rate) if rate else config["learning_rate"]
        train = token_blocks(text.train, tokenizer, space.block_size)
        loss = train_from_scratch(space, architecture, train, validation, config, int(seed), int(steps), accelerator)
        values = {"loss": loss, "params": costs(supernet, architecture)["params"]}
    write_atomically(Path(result), json.dumps(values))


def train_from_scratch(
    space: Any,
    architecture: Architecture,
    train: Any,
    validation: Any,
    config: dict[str, Any],
    seed: int,
    steps: int,
    accelerator: Accelerator,
) -> float:
    """Validation loss, in nats per token, of the plain upstream model after training on all of the training data."""
    set_seed(1000 + seed)
    model = plain_model(space, architecture).train()
    rate = config["learning_rate"]
    optimiser = weight_optimiser(model.named_parameters(), rate, 0.1, accelerator.device)
    stream = batches(train, config["batch_size"], accelerator, seed=1000 + seed)
    for step in range(steps):
        set_learning_rate(optimiser, rate * cosine(step, steps, max(1, steps // 10), floor=0.0))
        _loss(model, next(stream)["input_ids"]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
    model.eval()
    with torch.no_grad():
        losses = [(_loss(model, batch["input_ids"]).item(), len(batch["input_ids"])) for batch in validation]
    return sum(loss * size for loss, size in losses) / sum(size for _, size in losses)


def _loss(model: Any, ids: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(model(input_ids=ids[:, :-1]).logits.flatten(0, 1), ids[:, 1:].flatten())


if __name__ == "__main__":
    main()
