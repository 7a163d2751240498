"""Export any architecture of a finished or interrupted run: `uv run apps/export --run runs/first --output-dir my-model`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentError, ArgumentParser
from knotwork_export import ExportError, Provenance, export, push_to_hub
from knotwork_ops import Architecture
from knotwork_search import RunFolder, costs, load_checkpoint
from knotwork_spaces import family, space_from_dict
from transformers import AutoTokenizer
from transformers.utils import logging as transformers_logging


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the app. Returns its exit code: 0, 1 for an export that fails its verification, 2 for bad input."""
    parser = ArgumentParser(prog="export", description=__doc__, exit_on_error=False)
    parser.add_argument("--run", type=str, required=True, help="the run's folder")
    parser.add_argument("--architecture", type=str | None, help="JSON file with another architecture of the run's space")
    parser.add_argument("--output-dir", type=str, required=True, help="the model's folder, new or empty")
    parser.add_argument("--push-to-hub", type=str | None, help="USER/NAME to publish the model as")
    try:
        flags = parser.parse_args(list(arguments) if arguments is not None else None)
        folder = export_run(RunFolder(flags.run), Path(flags.output_dir), flags.architecture)
        print(f"exported and verified: {folder}")
        if flags.push_to_hub:
            print(push_to_hub(folder, flags.push_to_hub))
    except ExportError as error:
        return _fail(error, 1)
    except (ArgumentError, ValueError, OSError) as error:
        return _fail(error, 2)
    return 0


def export_run(run: RunFolder, folder: Path, architecture_file: str | None) -> Path:
    """Export the found architecture, or the one in a file, with the weights of the run's newest checkpoint."""
    transformers_logging.disable_progress_bar()
    config = run.read_config()
    space: Any = space_from_dict(_read_json(run.space))
    record = _read_json(run.architecture) if run.architecture.exists() else {}
    if architecture_file is not None:
        architecture = Architecture.from_json(_read_text(Path(architecture_file)), space)
    elif record:
        architecture = space.architecture(record.get("architecture", {}))
    else:
        raise ValueError(f"{run.path} has found no architecture yet: name one with --architecture FILE.json")
    supernet = family(str(_read_json(run.space).get("family")))[1](space).eval()
    _load_weights(supernet, run)
    ids = torch.randint(space.vocab_size, (2, space.block_size), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = supernet.logits(ids, architecture)
    found = record.get("architecture") == architecture.as_dict()
    provenance = Provenance(
        architecture=architecture.as_dict(),
        cost=costs(supernet, architecture),
        strategy=str(config.get("strategy")) if found else "chosen by hand",
        dataset=str(config.get("dataset")),
        metrics=record["comparison"][0]["metrics"] if found else {},
        settings=config,
        versions=record.get("versions", {}),
    )
    tokenizer = AutoTokenizer.from_pretrained(run.tokenizer)
    model = supernet.extract(architecture)
    return export(model, folder, tokenizer=tokenizer, provenance=provenance, reference_ids=ids, reference_logits=logits)


def _load_weights(supernet: torch.nn.Module, run: RunFolder) -> None:
    tensors, _ = load_checkpoint(run.checkpoints)
    with torch.no_grad():
        for name, parameter in supernet.named_parameters():
            stored = tensors.get(f"supernet.{name}")
            if stored is None or stored.shape != parameter.shape:
                raise ValueError(f"the checkpoint in {run.checkpoints} has no fitting {name}: it is of another space")
            parameter.copy_(stored)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text file: {error}") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(_read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} is not a JSON object")
    return values


def _fail(error: object, code: int) -> int:
    print(f"export: error: {' '.join(str(error).split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
