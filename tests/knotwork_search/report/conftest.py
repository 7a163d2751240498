"""Synthetic runs of any length, so that the report is tested without a search."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

CONFIG = "strategy: drnas\nspace: gpt-nano\nmax_params: 639104\nsteps: 300\nlearning_rate: 0.001\nseed: 0\n"


def metrics(steps: int, *, per_layer: bool = True, layers: int = 4, seed: int = 0) -> Iterator[dict[str, Any]]:
    draw = random.Random(seed)

    def softmax(*logits: float) -> list[float]:
        powers = [math.exp(logit) for logit in logits]
        return [round(power / sum(powers), 6) for power in powers]

    for step in range(steps):
        done = step / max(1, steps - 1)
        loss = 4.0 + 6.5 * math.exp(-8 * done)
        yield {
            "step": step,
            "split": "weight",
            "loss": loss + draw.gauss(0, 0.15),
            "tokens_per_second": draw.gauss(12345, 400),
            "learning_rate": 1e-3,
        }
        drift = 2.5 * done
        layered = [softmax(drift * math.sin(layer), 0.0, drift * math.cos(layer)) for layer in range(layers)]
        yield {
            "step": step,
            "split": "architecture",
            "loss": loss + 0.1 + draw.gauss(0, 0.2),
            "expected_cost": {"params": 640_000 - 60_000 * done + draw.gauss(0, 3e3), "flops": 1.4e6 - 2e5 * done},
            "multiplier": {"params": 0.4 * math.sin(3 * done) ** 2},
            "entropy": 1 - 0.7 * done,
            "probabilities": {
                "embed_dim": softmax(0.0, drift, drift / 2),
                "depth": softmax(0.0, drift / 2, drift),
                "num_heads": layered if per_layer else layered[0],
                "mlp_ratio": softmax(0.1, drift, 0.0),
            },
        }
        if step % max(1, steps // 12) == 0:
            yield {"step": step, "split": "validation", "loss": loss + 0.05}


def outcome(*, per_layer: bool = True) -> dict[str, Any]:
    heads: Any = [4, 8, 2] if per_layer else 4
    found = {"embed_dim": 96, "depth": 3, "num_heads": heads, "mlp_ratio": 3}
    largest = {"embed_dim": 128, "depth": 4, "num_heads": [8] * 4 if per_layer else 8, "mlp_ratio": 4}
    smallest = {"embed_dim": 64, "depth": 2, "num_heads": [2] * 2 if per_layer else 2, "mlp_ratio": 2}
    return {
        "space": {
            "family": "gpt2",
            "choices": {
                "embed_dim": {"options": [64, 96, 128], "layers": None},
                "depth": {"options": [2, 3, 4], "layers": None},
                "num_heads": {"options": [2, 4, 8], "layers": 4 if per_layer else None},
                "mlp_ratio": {"options": [2, 3, 4], "layers": None},
            },
        },
        "architecture": found,
        "cost": {"params": 577_000, "flops": 1_230_000},
        "budget": {"params": 639_104},
        "strategy": "drnas",
        "seed": 0,
        "versions": {"torch": "2.15.0", "transformers": "5.1.0", "knotwork-search": "0.1.0"},
        "comparison": [
            {"name": name, "architecture": net, "cost": cost, "metrics": {"loss": loss, "bits_per_byte": loss / 2.2}}
            for name, net, cost, loss in (
                ("found", found, {"params": 577_000, "flops": 1_230_000}, 4.3),
                ("largest", largest, {"params": 1_203_456, "flops": 2_830_000}, 4.12),
                ("smallest", smallest, {"params": 201_984, "flops": 402_000}, 4.9),
            )
        ],
        "shortlist": [
            {
                "architecture": {**found, "mlp_ratio": ratio},
                "log_probability": -3.2 - ratio / 7,
                "cost": {"params": 500_000 + 25_700 * ratio, "flops": 1.1e6 + 4e4 * ratio},
                "loss": 4.4 + ratio / 50,
                "finetuned_loss": 4.1 + ratio / 70,
            }
            for ratio in (2, 3, 4)
        ],
        "samples": ["def open(path):\n    return path.open()\n", "Once upon a time there was a small net."],
    }


class MakeRun:
    """Writes run folders below `parent`."""

    def __init__(self, parent: Path) -> None:
        self.parent = parent

    def __call__(
        self,
        steps: int = 60,
        *,
        config: str | None = CONFIG,
        outcome: dict[str, Any] | None = None,
        name: str = "run",
        **options: Any,
    ) -> Path:
        """A search: `make_run(steps=300, config=..., outcome=...)`; None leaves a file out."""
        run = self._folder(name, metrics(steps, **options))
        if config is not None:
            (run / "config.yaml").write_text(config)
        if outcome is not None:
            (run / "architecture.json").write_text(json.dumps(outcome))
        return run

    def training(self, name: str = "run", *, finished: bool = True) -> Path:
        """The training of one net, as apps/train_gpt leaves it."""
        before, after = {"loss": 5.64264, "bits_per_byte": 3.28735}, {"loss": 3.4824, "bits_per_byte": 2.02881}
        records = [{"step": 0, "split": "validation", **before}]
        records += [{"step": step, "split": "weight", "loss": 5.6 - 0.1 * step, "learning_rate": 0.01} for step in range(20)]
        run = self._folder(name, [*records, {"step": 20, "split": "validation", **after}] if finished else records)
        (run / "config.yaml").write_text("model: runs/first/model\ninit: inherit\ndataset: tale.txt\nsteps: 20\nseed: 0\n")
        if finished:
            record = {
                "model": "runs/first/model",
                "steps": 20,
                "seed": 0,
                "before": before,
                "after": after,
                "samples": ["Once"],
            }
            (run / "training.json").write_text(json.dumps(record))
        return run

    def _folder(self, name: str, records: Iterable[dict[str, Any]]) -> Path:
        run = self.parent / name
        run.mkdir(exist_ok=True)
        with (run / "metrics.jsonl").open("w") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)
        return run


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Writes run folders below the test's own folder."""
    return MakeRun(tmp_path)
