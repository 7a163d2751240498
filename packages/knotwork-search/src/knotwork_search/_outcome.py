"""What is said of a finished search: the comparison, the record in architecture.json and the table."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from accelerate import Accelerator
from knotwork_ops import Architecture
from rich.table import Table

from knotwork_search._budget import amount, costs
from knotwork_search._evaluate import evaluate
from knotwork_search._front import front_record
from knotwork_search._loop import SearchResult
from knotwork_search._protocols import Batch, Supernet
from knotwork_search._settings import SearchSettings

Row = dict[str, Any]


def comparison(
    supernet: Supernet,
    found: Architecture,
    validation: Sequence[Batch],
    accelerator: Accelerator,
    complete: Callable[[dict[str, float]], dict[str, float]] = dict,
) -> list[Row]:
    """Cost and validation metrics, from inherited weights, of the found, the largest and the smallest architecture.

    Args:
        supernet: trained.
        found: the architecture that the search returned.
        validation: batches that were not trained on.
        accelerator: for its precision.
        complete: adds derived metrics to the measured ones, such as bits per byte.
    """
    rows = []
    for name, architecture in (("found", found), ("largest", supernet.space.largest), ("smallest", supernet.space.smallest)):
        metrics = complete(evaluate(supernet, validation, architecture, accelerator))
        rows.append(
            {"name": name, "architecture": architecture.as_dict(), "cost": costs(supernet, architecture), "metrics": metrics}
        )
    return rows


def outcome_record(
    space: Mapping[str, Any], result: SearchResult, settings: SearchSettings, rows: Sequence[Row], packages: Iterable[str]
) -> dict[str, Any]:
    """The content of ``architecture.json``."""
    return {
        "space": dict(space),
        "architecture": result.architecture.as_dict(),
        "cost": rows[0]["cost"],
        "budget": dict(settings.limits),
        "strategy": settings.strategy,
        "seed": settings.seed,
        "search_flops": result.flops if math.isfinite(result.flops) else None,
        "versions": versions(packages),
        "comparison": list(rows),
        "shortlist": [ranked.as_dict() for ranked in result.ranked],
        "probabilities": {name: weights.tolist() for name, weights in result.probabilities.items()},
        **({"front": front_record(result.front, result.evaluated, settings.pareto)} if settings.pareto else {}),
    }


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of Python and of those packages that are installed."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def comparison_table(rows: Sequence[Row], labels: Mapping[str, str]) -> Table:
    """The comparison for a terminal.

    Args:
        rows: as ``comparison`` returns them.
        labels: column headings of costs and metrics by name, in order; those that were not measured get no column.
    """
    labels = {
        name: label for name, label in labels.items() if any(name in row["cost"] or name in row["metrics"] for row in rows)
    }
    table = Table("architecture", *labels.values(), title="inherited weights, validation data")
    for row in rows:
        values = {**row["cost"], **row["metrics"]}
        cells = [amount(values[name]) if name in row["cost"] else f"{values[name]:.4f}" for name in labels]
        table.add_row(row["name"], *cells)
    return table
