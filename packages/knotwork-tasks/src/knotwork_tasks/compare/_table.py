"""The table of a comparison, as text that a README can hold."""

from __future__ import annotations

from collections.abc import Sequence

from knotwork_tasks.compare._flags import CompareFlags
from knotwork_tasks.compare._outcome import Outcome
from knotwork_tasks.compare._plan import Plan
from knotwork_tasks.compare._statistics import mean_and_error

UNITS = {"gpt2": "nats per token", "llama": "nats per token"}


def table(outcomes: Sequence[Outcome], planned: Plan, flags: CompareFlags) -> str:
    """Mean and standard error over the seeds of each strategy."""
    known = any(outcome.regret is not None for outcome in outcomes)
    unit = UNITS.get(planned.family, "nats per image")
    alone = "error, %" if known else f"trained from scratch, {unit}"
    heads = ["strategy", alone, *(["regret, points"] if known else []), "inherited loss", "parameters", "search, FLOPs"]
    heads += ["time, s", "peak memory, MiB", "Kendall tau"]
    lines = [f"| {' | '.join(heads)} |", "|" + " --- |" * len(heads)]
    for name in dict.fromkeys(outcome.strategy for outcome in outcomes):
        own = [outcome for outcome in outcomes if outcome.strategy == name]
        cells = [name, _mean([o.alone for o in own], 3 if known else 4)]
        cells += [_mean([o.regret for o in own], 3)] if known else []
        cells += [_mean([o.inherited for o in own], 4), _mean([o.params for o in own], 0)]
        spent = [o.flops for o in own if o.flops is not None]
        cells += [f"{mean_and_error(spent)[0]:.3g}" if spent else "-", _mean([o.seconds for o in own], 0)]
        cells += [_mean([None if o.memory is None else o.memory / 2**20 for o in own], 0), _mean([o.tau for o in own], 2)]
        lines.append(f"| {' | '.join(cells)} |")
    how = "known from the benchmark" if known else f"{flags.retrain_steps} steps from scratch"
    limits = ", ".join(f"{limit:,.0f} {name}" for name, limit in planned.limits.items()) or "no budget"
    return "\n".join([f"{flags.space}, {flags.seeds} seeds, {planned.compute:.3g} FLOPs a search, {limits}, {how}", "", *lines])


def _mean(values: Sequence[float | None], digits: int) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    mean, error = mean_and_error(known)
    return f"{mean:,.{digits}f}" if len(known) == 1 else f"{mean:,.{digits}f} +- {error:,.{digits}f}"
