"""Latencies in bounded memory."""

import math

import numpy as np
import pytest

from bci_lfads.timing import LatencyWindow


def test_nothing_measured():
    percentiles = LatencyWindow().percentiles()
    assert percentiles.n == 0
    assert math.isnan(percentiles.median)
    assert percentiles.milliseconds() == {"n": 0, "median": None, "p99": None, "max": None}


def test_the_newest_are_kept_and_the_largest_of_all():
    values = np.random.default_rng(0).random(1000)
    values[3] = 9.0
    window = LatencyWindow(64)
    for value in values:
        window.add(value)
    found = window.percentiles()
    assert (found.n, found.maximum) == (1000, 9.0)
    assert found.median == pytest.approx(np.median(values[-64:]))


@pytest.mark.parametrize("n", [1, 2, 3, 64, 1000])
def test_percentiles_are_those_of_numpy(n):
    values = np.random.default_rng(n).random(n)
    window = LatencyWindow(1000)
    for value in values:
        window.add(value)
    found = window.percentiles()
    assert [found.median, found.p99] == pytest.approx(np.quantile(values, [0.5, 0.99]))


def test_nan_is_not_kept():
    window = LatencyWindow()
    window.add(math.nan)
    window.add(0.25)
    assert window.percentiles().milliseconds() == {
        "n": 1,
        "median": 250.0,
        "p99": 250.0,
        "max": 250.0,
    }
