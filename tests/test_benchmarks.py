"""The benchmark's own sums and tables, and one short run of it."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from bci_lfads.listen import Heard

FILE = Path(__file__).parent.parent / "benchmarks" / "lsl_latency.py"
WIDTH = 0.01


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(FILE.parent)
    return importlib.import_module(FILE.stem)


def test_statistics_are_in_milliseconds(bench):
    found = bench.statistics(np.arange(101) * 1e-3)
    assert found == pytest.approx({"n": 101, "median": 50.0, "p99": 99.0, "max": 100.0})
    assert bench.cell(found) == "50.00 / 99.00 / 100.00"
    assert bench.cell(bench.statistics(np.empty(0))) == "none"


def test_a_table_has_a_line_for_each_row(bench):
    table = bench.markdown([["a", "b"], ["1", "2"], ["3", "4"]])
    assert table == "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |"


def test_the_nearest_time_is_found_if_it_is_near(bench):
    among = np.array([3.0, 1.0, 2.0])
    wanted = np.array([0.5, 1.05, 1.95, 2.5, 3.0, np.nan, 9.0])
    assert bench.nearest(among, wanted, 0.1).tolist() == [-1, 1, 2, -1, 0, -1, -1]
    assert bench.nearest(np.array([1.0]), np.array([1.0, 2.0]), 0.1).tolist() == [0, -1]
    assert bench.nearest(np.empty(0), wanted, 0.1).tolist() == [-1] * 7


def test_each_window_is_followed_from_its_last_spike_to_the_listener(bench):
    ends = 5.0 + WIDTH * np.arange(4)
    spikes = ends - 0.004
    moments = ends[:, None] + np.array([np.nan, 0.005, 0.0051, 0.0055, 0.006])
    moments[:, 0] = spikes
    moments[1, 0] = np.nan  # a silent window
    heard = Heard(
        factors=np.zeros((3, 2), np.float32),
        stamps=ends[[0, 1, 3]] - 0.5 * WIDTH,  # the third was lost
        received=ends[[0, 1, 3]] + 0.0058,
        latency_stamps=ends,
        latency=moments,
    )
    pushed = {"stamps": spikes, "pushed": spikes + 0.001}
    stages = bench.stages_of(pushed, heard, WIDTH, sliding=True)
    for times in stages.values():
        assert len(times) == 2
    first = [float(times[0]) for times in stages.values()]
    assert first == pytest.approx([0.0088, 0.003, 0.005, 0.0001, 0.0004, 0.0003, 0.0058, 0.0005])
    parts = sum(times for what, times in stages.items() if what[0] in "=+")
    assert parts == pytest.approx(stages[bench.TOTAL])


def test_a_trial_ends_with_its_last_bin():
    factors = np.array([[0, 7, 0], [0, 7, 1], [0, 9, 0], [0, 9, 1]], np.float32)
    none = np.empty(0)
    heard = Heard(factors, np.array([1.0, 1.01, 2.0, 2.01]), np.arange(4.0), none, none)
    ends, received = heard.windows(WIDTH, sliding=False)
    assert ends == pytest.approx([1.015, 2.015])
    assert received.tolist() == [1.0, 3.0]


@pytest.mark.lsl
def test_a_short_run_gives_a_report(bench, tmp_path):
    case = bench.measure(tmp_path, "sliding", 0.005, 1.0)
    assert case.received >= len(case.stages[bench.TOTAL]) > 0
    text = bench.report("This machine.", [case])
    assert text.startswith("This machine.\n\n")
    assert "| window, hold-off | sliding, 5 ms |\n|---|---|\n| windows measured | " in text
    json.dumps(bench.as_dict("This machine.", [case]), allow_nan=False)
