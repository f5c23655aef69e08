"""Spikes and markers over LSL, from another process."""

import math

import numpy as np
import pytest
from served import Served, until

from bci_lfads.errors import StreamError
from bci_lfads.streams.markers import MarkerInlet
from bci_lfads.streams.spikes import SpikeInlet

pytestmark = pytest.mark.lsl

UNITS = ("a", "b")


def listed(*entries):
    """Return a description that lists units as (label, channel, unit)."""
    return {"units": {"unit": [{"label": n, "channel": c, "unit": u} for n, c, u in entries]}}


TABLE = listed(("b", "2", "0"), ("a", "1", "0"))


def spikes(inlet, n):
    """Pull until `n` samples are in; return times, units and counts."""
    chunks, samples = [], 0

    def enough():
        nonlocal samples
        chunks.append(inlet.pull())
        samples += inlet.n_pulled
        return samples >= n

    until(enough)
    assert samples == n
    return tuple(np.concatenate(part).tolist() for part in zip(*chunks, strict=True))


def markers(inlet, n):
    """Pull until `n` markers are in."""
    times, labels = [], []

    def enough():
        chunk = inlet.pull()
        times.extend(chunk.times.tolist())
        labels.extend(chunk.labels)
        return len(labels) >= n

    until(enough)
    return times, labels


def test_events_arrive_exactly_however_many(unique):
    random = np.random.default_rng(3)
    n = 10_000  # more than one pull takes
    rows = np.stack([random.integers(0, 4, n), np.zeros(n, int)], axis=1)
    stamps = 2e5 + np.sort(random.uniform(0, 10, n))
    inlet = SpikeInlet({"name": unique}, UNITS, 0.01)
    assert (inlet.state, inlet.last_stamp) == ("waiting", -math.inf)
    assert len(inlet.pull().times) == 0
    with Served(unique, desc=TABLE) as source:
        inlet.open(10)
        source.push(rows.tolist(), stamps.tolist())
        times, units, counts = spikes(inlet, n)
    assert times == stamps.tolist()
    assert units == [{1: 0, 2: 1}.get(c, -1) for c in rows[:, 0].tolist()]
    assert counts == [1] * n
    assert inlet.last_stamp == stamps[-1]
    assert inlet.time_base == "lsl"
    inlet.close()


def test_neural_data_simulators_stream_is_taken_as_it_is(unique):
    labels = ["channels", "units", *(str(i) for i in range(48))]
    query = {"type": "SpikeEvents", "source_id": f"{unique} SimulatedSpikeEvents"}
    inlet = SpikeInlet(query, ["u0", "u1", "u2"], 0.01, unit_map={"u*": "*/0"})
    rows = np.random.default_rng(0).integers(-2000, 2000, (6, 50))
    rows[:, :2] = [[2, 0], [0, 0], [1, 0], [3, 0], [1, 1], [2, 0]]
    with Served(
        unique, labels, kind="SpikeEvents", form="int16", source_id=query["source_id"]
    ) as source:
        inlet.open(10)
        source.push(rows.tolist(), [1.0, 1.1, 1.2, 1.3, 1.4, 1.5])
        assert spikes(inlet, 6)[1] == [2, 0, 1, -1, -1, 2]
    inlet.close()


def test_counts_tell_of_silence_too(unique):
    inlet = SpikeInlet({"name": unique}, UNITS, 0.02)
    desc = {"timestamp_reference": "start"}
    with Served(unique, ["b", "x", "a"], form="int16", rate=100.0, desc=desc) as source:
        inlet.open(10)
        source.push([[2, 0, 1], [0, 0, 0]], [5.0, 5.01])
        times, units, counts = spikes(inlet, 2)
    assert times == pytest.approx([5.005, 5.005])
    assert (units, counts) == ([1, 0], [2, 1])
    assert inlet.last_stamp == pytest.approx(5.02), "the silent bin's end"
    assert inlet.source_bins.width == pytest.approx(0.01)
    inlet.close()


def test_ids_of_text(unique):
    inlet = SpikeInlet({"name": unique}, UNITS, 0.01)
    with Served(unique, ["id"], form="string") as source:
        inlet.open(10)
        source.push(["b", b"\xff", "a"], [1.0, 2.0, 3.0])
        assert spikes(inlet, 3)[:2] == ([1.0, 2.0, 3.0], [1, -1, 0])
    inlet.close()


@pytest.mark.fault("source-changed")
def test_a_source_that_comes_back_in_another_format_is_read_right(unique):
    """Its keys, columns and type may all be new: nothing of the old may be used."""
    inlet = SpikeInlet({"name": unique}, UNITS, 0.01)
    with Served(unique, desc=TABLE) as source:
        inlet.open(10)
        source.push([[1, 0]], [1.0])
        assert spikes(inlet, 1)[1] == [0]
    until(lambda: inlet.pull() and inlet.state != "open")
    other = listed(("a", "2", "0"), ("b", "1", "0"))
    with Served(unique, ["w", "unit", "channel"], form="double64", desc=other) as source:
        # Samples must be there at once when it opens, so it is pulled, never opened.
        times, stamp = [], 2.0

        def heard():
            nonlocal stamp
            source.push(
                [[0.5, 0, 2], [0.5, 0, 1], [0.5, 0, 0.5]], [stamp, stamp + 0.25, stamp + 0.5]
            )
            stamp += 1
            for _ in range(50):
                chunk = inlet.pull()
                times.extend(zip(chunk.times.tolist(), chunk.units.tolist(), strict=True))
            return len(times) >= 20

        until(heard)
        assert {(t % 1, unit) for t, unit in times} == {(0.0, 0), (0.25, 1)}
        assert inlet.counters.invalid >= 9
        assert inlet.connection.losses == 1
    inlet.close()


@pytest.mark.fault("source-changed")
def test_a_source_that_comes_back_with_other_units_is_refused_until_they_are_right(unique):
    inlet = SpikeInlet({"name": unique}, UNITS, 0.01)
    with Served(unique, desc=TABLE):
        inlet.open(10)
    until(lambda: inlet.pull() and inlet.state != "open")
    with Served(unique, desc=listed(("a", "1", "0"), ("z", "2", "0"))) as source:
        until(lambda: inlet.pull() and inlet.state == "refused")
        assert "missing: b" in inlet.reason
        source.push([[1, 0]], [1.0])
        assert not [n for n in (len(inlet.pull().times) for _ in range(50)) if n]
    with Served(unique, desc=TABLE) as source:
        until(lambda: inlet.pull() and inlet.state == "open")
        source.push([[2, 0]], [2.0])
        assert spikes(inlet, 1)[:2] == ([2.0], [1])
    inlet.close()


@pytest.mark.parametrize(
    ("form", "values", "labels"),
    [
        ("string", ["go", " spaced ", "ü", "", "a\nb"], ["go", "spaced", "ü", "", "a\nb"]),
        ("string", [b"\xff\xfego", b"nul\0nul"], ["\ufffd\ufffdgo", "nul\0nul"]),
        ("int16", [7, -3, 0], ["7", "-3", "0"]),
        ("int64", [2**53 + 1], ["9007199254740993"]),
        ("float32", [7.0, 0.1, -2.5], ["7", "0.1", "-2.5"]),
        ("double64", [1e15, math.inf, math.nan], ["1000000000000000", "inf", "nan"]),
    ],
)
def test_markers_of_text_and_numbers(unique, form, values, labels):
    inlet = MarkerInlet({"name": unique})
    stamps = [10.125 + i / 3 for i in range(len(values))]
    with Served(unique, ["marker"], kind="Markers", form=form) as source:
        inlet.open(10)
        source.push(values, stamps)
        assert markers(inlet, len(values)) == (stamps, labels)
    inlet.close()


@pytest.mark.fault("source-killed")
def test_markers_of_a_source_that_comes_back(unique):
    inlet = MarkerInlet({"name": unique})
    for label in ("one", "two"):
        with Served(unique, ["marker"], form="string") as source:
            inlet.open(10)
            source.push([label], [1.0])
            assert markers(inlet, 1) == ([1.0], [label])
            source.kill()
            until(lambda: not len(inlet.pull().times) and inlet.state != "open")
    assert inlet.connection.losses == 2
    inlet.close()


@pytest.mark.fault("wrong-type")
@pytest.mark.parametrize(("labels", "rate"), [(["x", "y"], 0.0), (["x"], 100.0)])
def test_what_is_no_marker_stream_is_refused(unique, labels, rate):
    inlet = MarkerInlet({"name": unique})
    with (
        Served(unique, labels, rate=rate),
        pytest.raises(StreamError, match=r"markers: .*markers come irregularly"),
    ):
        inlet.open(10)
    inlet.close()
