"""Smoothing and thinning, against sums written out."""

from __future__ import annotations

import random

import pytest
from knotwork_search.report._format import compact, exact
from knotwork_search.report._series import Series, series, smooth, thin, thin_keeping_extremes


def noisy(count: int) -> Series:
    draw = random.Random(1)
    return Series([float(at) for at in range(count)], [draw.gauss(0, 1) for _ in range(count)])


@pytest.mark.parametrize("count", [0, 1, 2, 7, 400])
def test_smooth_is_the_centred_mean(count):
    raw = noisy(count)
    half = max(1, count // 80)
    for at, value in enumerate(smooth(raw).values):
        reach = min(half, at, count - 1 - at)
        window = raw.values[at - reach : at + reach + 1]
        assert value == pytest.approx(sum(window) / len(window))


@pytest.mark.parametrize("count", [1, 10, 11, 999, 12_345])
def test_thin_keeps_both_ends_and_the_limit(count):
    kept = thin(noisy(count), 10)
    assert len(kept) == min(count, 10)
    assert (kept.steps[0], kept.steps[-1]) == (0, count - 1)
    assert kept.steps == sorted(set(kept.steps))


def test_spikes_survive_thinning():
    raw = noisy(10_000)
    raw.values[4321] = 99.0
    raw.values[8765] = -99.0
    kept = thin_keeping_extremes(raw, 100)
    assert len(kept) <= 100
    assert {99.0, -99.0} <= set(kept.values)
    assert kept.steps == sorted(kept.steps)


def test_a_resumed_run_writes_steps_twice_and_the_later_holds():
    lines = [{"step": step, "split": "weight", "loss": loss} for step, loss in ((1, 9.0), (2, 8.0), (3, 7.0), (2, 5.0))]
    assert series(lines, "weight", "loss") == Series([1, 2, 3], [9.0, 5.0, 7.0])


@pytest.mark.parametrize(
    ("value", "short", "full"),
    [
        (577_000, "577 k", "577,000"),
        (1_230_000.0, "1.23 M", "1,230,000"),
        (999_999, "1 M", "999,999"),
        (0.98, "0.98", "0.98"),
        (-3.2, "-3.2", "-3.2"),
        (0, "0", "0"),
        (612_345.25, "612.3 k", "612,345.2"),
    ],
)
def test_numbers(value, short, full):
    assert compact(value) == short
    assert exact(value) == full
