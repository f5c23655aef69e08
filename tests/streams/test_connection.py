"""A stream in another process that comes, goes and comes back."""

import socket

import numpy as np
import pylsl
import pytest
from pylsl.util import LostError, TimeoutError  # noqa: A004
from served import Served, until

from bci_lfads.errors import StreamError
from bci_lfads.streams.connection import Connection, describe, predicate
from bci_lfads.streams.discover import list_streams


def pulled(connection, n, timeout=10.0):
    """Pull until `n` samples are in; return rows and stamps."""
    rows, stamps = [], []

    def enough():
        some, when = connection.pull(1000)
        rows.extend(np.array(some).tolist())
        stamps.extend(when.tolist())
        return len(stamps) >= n

    until(enough, timeout)
    return rows, stamps


def connect(name, accept=lambda header: None):
    return Connection("spikes", {"name": name}, accept)


def test_predicates_quote_what_they_can():
    assert predicate({"name": "a", "type": "it's"}) == "name='a' and type=\"it's\""
    assert describe({"name": "a", "type": "b"}) == "name 'a' and type 'b'"
    with pytest.raises(StreamError, match="both quotes"):
        predicate({"name": "\"'"})


@pytest.mark.lsl
def test_everything_is_pulled_once_and_stamps_are_left_alone_on_one_host(unique):
    stamps = (1e5 + np.cumsum(np.random.default_rng(0).exponential(1e-3, 5000))).tolist()
    rows = [[i, -i] for i in range(5000)]
    with Served(unique) as source:
        connection = connect(unique)
        connection.open(10)
        assert (connection.state, connection.reason, connection.correction) == ("open", "", 0.0)
        assert connection.header.labels == ("channel", "unit")
        assert connection.opened_at <= pylsl.local_clock()
        source.push(rows[:2000], stamps[:2000])
        source.push(rows[2000:], stamps[2000:])
        assert pulled(connection, 5000) == (rows, stamps)
        assert len(connection.pull(1000)[1]) == 0
        connection.close()
        assert not connection.poll()


@pytest.mark.fault("source-killed")
@pytest.mark.lsl
def test_a_killed_source_is_found_again_and_losses_are_counted(unique):
    connection = connect(unique)
    assert (connection.state, connection.poll()) == ("waiting", False)
    for losses in range(2):
        with Served(unique) as source:
            connection.open(10)
            opened = connection.opened_at
            source.push([[losses, 0]], [1.5])
            assert pulled(connection, 1) == ([[losses, 0]], [1.5])
            source.kill()
            until(lambda: connection.pull(10) and connection.state != "open")
        assert connection.losses == losses + 1
        assert "lost" in connection.reason
    with Served(unique) as source:
        connection.open(10)
        source.push([[7, 7]], [2.5])
        assert pulled(connection, 1) == ([[7, 7]], [2.5])
        assert connection.opened_at > opened
    connection.close()


def of_rate(rate, name):
    """Return an outlet of such a rate."""
    return pylsl.StreamOutlet(pylsl.StreamInfo(name, "T", 1, rate, "float32", f"{name} id"))


@pytest.mark.lsl
def test_a_stream_that_lsl_makes_no_inlet_of_is_refused_and_listed(unique):
    with_source = of_rate(float("nan"), unique)
    connection = connect(unique)
    until(lambda: not connection.poll() and connection.state == "refused")
    # LSL does not even read its name.
    assert "LSL makes no inlet of stream '(invalid" in connection.reason
    assert not connection.poll()
    found = [s.problems for s in list_streams(wait=1.0, listen=0.2) if s.name.startswith("(inv")]
    assert any("LSL makes no inlet" in " ".join(problems) for problems in found)
    del with_source
    connection.close()


@pytest.mark.lsl
def test_a_refused_stream_is_left_alone_until_another_takes_its_place(unique):
    asked = []

    def accept(header):
        asked.append(header.labels)
        if header.labels != ("right",):
            raise StreamError(f"it is labelled {header.labels[0]}")

    connection = connect(unique, accept)
    with Served(unique, ["right"]):
        connection.open(10)
    until(lambda: connection.pull(10) and connection.state != "open")
    with Served(unique, ["wrong"]):
        until(lambda: not connection.poll() and connection.state == "refused")
        assert connection.reason == "it is labelled wrong"
        for _ in range(20):
            assert not connection.poll()
        assert asked == [("right",), ("wrong",)]
        with pytest.raises(StreamError, match="spikes: it is labelled wrong"):
            connection.open(10)
    with Served(unique, ["right"]):
        until(connection.poll)
        assert connection.losses == 1
    connection.close()


@pytest.mark.lsl
def test_of_two_streams_that_fit_none_is_taken(unique):
    with Served(unique, source_id=f"{unique} one"):
        connection = connect(unique)
        with Served(unique, source_id=f"{unique} two"):
            until(lambda: len(connection._resolver.results()) == 2)
            assert not connection.poll()
            assert connection.state == "waiting"
            assert "2 streams fit" in connection.reason
            assert f"{unique} one" in connection.reason
            assert f"{unique} two" in connection.reason
            with pytest.raises(StreamError, match=r"2 streams fit .*; say which"):
                connection.open(0.1)
        connection.open(10)  # when one of them went
        connection.close()


@pytest.mark.lsl
def test_what_is_there_is_named_where_what_is_asked_for_is_not(unique):
    with Served(unique, kind="Other"):
        missing = connect(f"{unique} else")
        with pytest.raises(StreamError) as error:
            missing.open(0.3)
        assert f"spikes: no stream with name '{unique} else' yet after 0.3 s" in str(error.value)
        assert f"'{unique}' (type Other, {socket.gethostname()})" in str(error.value)
        missing.close()


class World:
    """A network with one stream on some host and a clock, both driven by the test."""

    def __init__(self, monkeypatch, *, host="far", time_base="lsl", hosts=()) -> None:
        self.now, self.correction, self.sends = 100.0, 0.0, 0
        self.seen, self.answers, self.lost = True, True, False
        info = pylsl.StreamInfo("s", "t", 2, 0, "int32", "id")
        info.desc().append_child_value("time_base", time_base)
        info.hostname = lambda: host  # of a stream that was never served
        info.uid = lambda: "uid"
        self.info_ = info
        monkeypatch.setattr(pylsl, "ContinuousResolver", lambda **_: self)
        monkeypatch.setattr(pylsl, "StreamInlet", lambda *_, **__: self)
        self.connection = Connection(
            "spikes", {}, lambda h: None, clock=lambda: self.now, hosts=hosts
        )

    def results(self):
        return [self.info_] if self.seen else []

    def _answer(self, timeout):
        assert timeout == 0.0, "nothing may wait"
        if self.lost:
            raise LostError
        if not self.answers:
            raise TimeoutError

    def info(self, timeout):
        self._answer(timeout)
        return self.info_

    def open_stream(self, timeout):
        self._answer(timeout)

    def time_correction(self, timeout):
        self._answer(timeout)
        return self.correction

    def pull_chunk(self, timeout, most, dest_obj=None, as_numpy=None):
        assert timeout == 0.0, "nothing may wait"
        if self.lost:
            raise LostError
        n, self.sends = self.sends, 0
        return np.zeros((n, 2), np.int32), np.full(n, 10.0)

    def at(self, now, *, sends=0):
        """Go to this moment and pull; return the stamps."""
        self.now, self.sends = now, sends
        return self.connection.pull(100)[1].tolist()


@pytest.mark.fault("clock-drift")
def test_the_first_correction_is_waited_for_applied_and_followed(monkeypatch):
    world = World(monkeypatch)
    world.correction, world.answers = -3.5, False
    assert world.at(100.0, sends=1) == world.at(100.01, sends=1) == []
    world.answers = True
    assert world.at(100.1, sends=1) == [6.5]
    world.correction = -3.4
    assert world.at(100.2, sends=1) == [6.5], "it is asked for once a second"
    assert world.at(101.2) == []
    assert world.at(101.3, sends=2) == [6.6, 6.6]
    world.answers = False
    assert world.at(103.0, sends=1) == world.at(103.1, sends=1) == [6.6], "the last one holds"


def test_small_corrections_are_made_between_hosts_only(monkeypatch):
    far = World(monkeypatch)
    far.correction = 0.0005
    far.at(100.0)
    assert far.at(100.1, sends=1) == [10.0005]
    near = World(monkeypatch, host=socket.gethostname())
    near.correction = 0.0005
    near.at(100.0)
    assert near.at(100.1, sends=1) == [10.0]


def test_a_large_correction_on_one_host_is_made(monkeypatch):
    """Two containers or virtual machines may share a name, but not a clock."""
    world = World(monkeypatch, host=socket.gethostname())
    world.correction = 2.0
    world.at(100.0)
    assert world.at(100.1, sends=1) == [12.0]


def test_a_clock_of_the_streams_own_is_not_corrected(monkeypatch):
    world = World(monkeypatch, time_base="stream")
    world.correction = 2.0
    world.at(100.0)
    assert world.at(100.1, sends=1) == [10.0]


@pytest.mark.fault("source-silent")
def test_a_source_that_is_silent_and_gone_is_lost(monkeypatch):
    world = World(monkeypatch)
    world.at(100.0)
    for now in np.arange(100.5, 120.0, 0.5):
        world.at(now)
        assert world.connection.state == "open", "silence alone is no loss"
    world.seen = False
    world.at(121.0)
    assert (world.connection.state, world.connection.losses) == ("waiting", 1)
    world.seen = True
    world.at(124.0)
    assert world.at(124.1, sends=1) == [10.0], "it answers again"


def test_a_source_that_sends_is_there_whatever_the_resolver_says(monkeypatch):
    world = World(monkeypatch)
    world.at(100.0)
    world.seen = False
    for now in np.arange(101.0, 115.0, 1.0):
        world.at(now, sends=1)
    assert (world.connection.state, world.connection.losses) == ("open", 0)


@pytest.mark.fault("stall")
def test_a_stream_that_does_not_open_is_let_go_and_tried_again(monkeypatch):
    world = World(monkeypatch)
    world.answers = False
    world.at(100.0)
    world.at(104.9)
    assert world.connection.reason == "connecting"
    world.at(105.1)
    assert "does not open" in world.connection.reason
    world.answers = True
    world.at(106.0)
    assert world.connection.state == "waiting", "it is left alone for a moment"
    world.at(107.2)
    world.at(107.3)
    assert (world.connection.state, world.connection.losses) == ("open", 0)


def test_a_stream_lost_while_it_is_opened_is_no_loss_of_what_was_open(monkeypatch):
    world = World(monkeypatch)
    world.lost = True
    world.at(100.0)
    world.at(100.1)
    assert "while it was being opened" in world.connection.reason
    assert (world.connection.state, world.connection.losses) == ("waiting", 0)


@pytest.mark.parametrize(("hosts", "state"), [(("far", "b"), "open"), (("b",), "refused")])
def test_a_stream_of_a_host_that_is_not_allowed_is_refused(monkeypatch, hosts, state):
    world = World(monkeypatch, hosts=hosts)
    world.at(100.0)
    world.at(100.1)
    assert world.connection.state == state
    if state == "refused":
        assert world.connection.reason.endswith("comes from far; allowed: b")


@pytest.mark.fault("clock-drift")
def test_a_clock_that_drifts_is_followed_to_a_tenth_of_a_millisecond(monkeypatch):
    """100 ppm for an hour, the correction asked for once a second."""
    network = World(monkeypatch)
    network.at(100.0)
    worst = 0.0
    for k in range(1, 36_000):
        now = 100.0 + 0.1 * k
        network.correction = 1e-4 * (now - 100.0)  # the source's clock runs slow
        for stamp in network.at(now, sends=1):
            worst = max(worst, abs(stamp - (10.0 + network.correction)))
    assert worst < 1.2e-4
