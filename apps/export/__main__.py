"""Export any architecture of a finished or interrupted run: `uv run apps/export --run runs/first --output-dir my-model`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser
from knotwork_export import Provenance, push_to_hub
from knotwork_search import costs
from knotwork_tasks import SavedRun, run_command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the app. Returns its exit code: 0, 1 for an export that fails its verification, 2 for bad input."""
    return run_command("export", lambda: export_app(arguments))


def export_app(arguments: Sequence[str] | None) -> None:
    """Parse the flags, export, and push when asked to."""
    parser = ArgumentParser(prog="export", description=__doc__, exit_on_error=False)
    parser.add_argument("--run", type=str, required=True, help="the run's folder")
    parser.add_argument("--architecture", type=str | None, help="JSON file with another architecture of the run's space")
    parser.add_argument("--point", type=int | None, help="number of a point of the run's front, in its front.csv")
    parser.add_argument("--output-dir", type=str, required=True, help="the model's folder, new or empty")
    parser.add_argument("--push-to-hub", type=str | None, help="USER/NAME to publish the model as")
    flags = parser.parse_args(list(arguments) if arguments is not None else None)
    folder = export_run(SavedRun(flags.run), Path(flags.output_dir), flags.architecture, flags.point)
    print(f"exported and verified: {folder}")
    if flags.push_to_hub:
        print(push_to_hub(folder, flags.push_to_hub))


def export_run(run: SavedRun, folder: Path, architecture_file: str | None, point: int | None) -> Path:
    """Export the found architecture, the one in a file or one of the front, with the weights of the newest checkpoint."""
    config, record = run.config, run.record
    if architecture_file is not None and point is not None:
        raise ValueError("--architecture and --point name two architectures: give one of them")
    if point is not None:
        architecture = run.point(point)
    else:
        architecture = run.found if architecture_file is None else run.architecture(architecture_file)
    found = record.get("architecture") == architecture.as_dict()
    provenance = Provenance(
        architecture=architecture.as_dict(),
        cost=costs(run.supernet, architecture),
        strategy=str(config.get("strategy")) if found else "chosen by hand",
        dataset=str(config.get("dataset")),
        metrics=run.metrics if found else {},
        settings=config,
        versions=record.get("versions") or {},
    )
    return run.packaging.export(run.supernet, architecture, folder, provenance)


if __name__ == "__main__":
    sys.exit(main())
