"""What is on the network, what for, and how it does."""

import json
import re
import threading

import pylsl
import pytest
from served import Served
from stream_headers import counts, events, ids, make, nds

from bci_lfads.streams.discover import Health, list_streams, problems_of, role_of, usable_as

OURS = {"model": {"hash": "f00"}}


@pytest.mark.parametrize(
    ("header", "role", "usable"),
    [
        (events([("a", 1, 0), ("b", 2, 0)]), "events", "spikes as events, 2 units listed"),
        (nds(), "events", "spikes as events, no units listed"),
        (ids([("a", 1)]), "ids", "spikes as ids, 1 unit listed"),
        (ids(form="string"), "ids", "spikes as ids, no units listed"),
        (make(("id",), name="x", kind="y"), "ids", "spikes as ids, no units listed"),
        (counts(("a", "b")), "counts", "spikes as counts, 2 units in bins of 10 ms"),
        (
            make(("a",), name="x", kind="y", rate=50.0, units="counts"),
            "counts",
            "spikes as counts, 1 unit in bins of 20 ms",
        ),
        (make(("m",), name="x", kind="Markers", form="string"), "markers", "markers"),
        (make(("m",), name="x", kind="y", form="string"), "markers", "markers"),
        (make(("m",), name="x", kind="Triggers", form="float32"), "markers", "markers"),
        (
            make(("C3", "C4"), name="x", kind="EEG", rate=500.0),
            "signal",
            "a signal; spikes as counts if its channels are called as the model's units",
        ),
        (counts(("a",), units="Hz"), "signal", "refused: stream 'spikes' is in Hz"),
        (make(("x", "y"), name="x", kind="Gaze"), "signal", "refused: .*carries no spikes"),
        (make(("f", "g"), kind="LatentFactors", desc=OURS), "factors", "factors, published by bci"),
        (make(("s",), kind="Markers", form="string", desc=OURS), "status", "status, published by"),
        (make(("a",), kind="FiringRates", units="Hz", desc=OURS), "rates", "rates, published by"),
    ],
)
def test_roles_and_uses(header, role, usable):
    assert role_of(header) == role
    assert re.match(usable, usable_as(header, role))


def health(samples, seconds=2.0, age=0.01):
    return Health(seconds, samples, samples / seconds, age, 0.0)


@pytest.mark.parametrize(
    ("header", "heard", "largest", "problem"),
    [
        (make(("a", "")), None, 0, "its channels have no labels"),
        (make(("a", "b", "a")), None, 0, "channels share labels: a"),
        (counts(("a",)), health(170), 5, "85.0 samples a second instead of 100"),
        (counts(("a",)), health(0, age=None), 0, "0.0 samples a second instead of 100"),
        (counts(("a",), width=2), health(0, age=None), 0, "0.0 samples a second instead of 0.5"),
        (events(), health(4, age=1.5), 4, "stamps are 1.5 s old when they come"),
        (events(), health(4, age=-3.0), 4, "stamps are 3.0 s in the future"),
    ],
)
def test_problems_are_told(header, heard, largest, problem):
    (told,) = problems_of(header, heard, largest)
    assert problem in told


@pytest.mark.parametrize(
    ("header", "heard", "largest"),
    [
        (events(), None, 0),
        (events(), health(0, age=None), 0),
        (ids(), health(3), 1),
        (counts(("a",)), health(195), 10),
        (counts(("a",)), health(150), 50),  # which sends blocks of half a second
        (counts(("a",), width=1), health(1), 1),
        (events(form="int32"), health(5, age=-0.01), 1),
        (make(("m",), form="string", desc={"time_base": "stream"}), health(5, age=1e5), 1),
    ],
)
def test_what_is_well_has_no_problems(header, heard, largest):
    assert problems_of(header, heard, largest) == []


def of(found, prefix):
    """Return the streams of this test by what follows the unique name."""
    return {s.name.removeprefix(prefix): s for s in found if s.name.startswith(prefix)}


@pytest.mark.lsl
def test_streams_are_found_and_listened_to_at_once(unique):
    units = {"units": {"unit": [{"label": "a", "channel": "1", "unit": "0"}]}}
    with (
        Served(f"{unique} live", desc=units) as live,
        Served(f"{unique} old", ["m"], kind="Markers", form="string") as old,
        Served(f"{unique} slow", ["C3"], kind="EEG", form="float32", rate=1000.0),
    ):
        stop = threading.Event()
        sent = 0

        def send():
            nonlocal sent
            while not stop.wait(0.02):
                now = pylsl.local_clock()
                live.push([[1, 0]] * 2, [now, now])
                old.push(["m"], [now - 7])
                sent += 2

        thread = threading.Thread(target=send)
        thread.start()
        try:
            found = of(list_streams(2.0, 1.0), unique)
        finally:
            stop.set()
            thread.join()
    assert set(found) == {" live", " old", " slow"}
    live, old, slow = found[" live"], found[" old"], found[" slow"]
    assert (live.role, live.usable) == ("events", "spikes as events, 1 unit listed")
    assert (live.format, live.n_channels, live.rate, live.type) == ("int32", 2, 0.0, "Spikes")
    assert live.source_id == f"{unique} live id"
    assert live.problems == ()
    assert 0 < live.health.samples <= sent
    assert live.health.rate == live.health.samples / live.health.seconds
    assert abs(live.health.correction) < 0.1
    assert old.role == "markers"
    assert len(old.problems) == 1
    assert "7.0 s old" in old.problems[0]
    assert slow.role == "signal"
    assert slow.problems == ("0.0 samples a second instead of 1000",)
    assert slow.health.age is None
    assert json.loads(json.dumps(live.as_dict()))["health"]["samples"] == live.health.samples


@pytest.mark.lsl
def test_without_listening_only_descriptions_are_read(unique):
    anonymous = pylsl.StreamOutlet(pylsl.StreamInfo(unique, "Spikes", 2, 0, "int32", ""))
    (found,) = of(list_streams(2.0), unique).values()
    assert not anonymous.have_consumers()
    assert found.health is None
    assert found.role == "signal"
    assert "carries no spikes" in found.usable
    assert found.problems == (
        "no source_id: it cannot be found again after a restart",
        "its channels have no labels, or not all of them",
    )
