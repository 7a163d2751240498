"""The statistics of the assessment."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "tools" / "search_quality.py"


@pytest.fixture(scope="module")
def quality():
    spec = importlib.util.spec_from_file_location("search_quality", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["search_quality"] = module
    spec.loader.exec_module(module)
    return module


def test_kendall_tau(quality):
    assert quality.kendall_tau([1, 2, 3, 4], [10, 20, 30, 40]) == 1
    assert quality.kendall_tau([1, 2, 3, 4], [4, 3, 2, 1]) == -1
    assert quality.kendall_tau([1, 2, 3], [1, 3, 2]) == pytest.approx(1 / 3)


def test_mean_and_error(quality):
    mean, error = quality.mean_and_error([1.0, 2.0, 3.0])
    assert mean == 2
    assert error == pytest.approx(1 / math.sqrt(3))
    assert quality.mean_and_error([5.0]) == (5, 0)
