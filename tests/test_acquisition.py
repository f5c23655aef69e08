"""The acquisition with inlets and a clock that the test drives: no network."""

import numpy as np
import pytest
from fakes import FakeMarkers, FakeSpikes

from bci_lfads.acquisition import Acquisition
from bci_lfads.journal import Event
from bci_lfads.slots import SlotQueue
from bci_lfads.streams.decoders import SourceBins
from bci_lfads.windows import SlidingWindows, TrialWindows

HOLD_OFF = 0.005


class World:
    """An acquisition of trials (1 unit, 4 bins of 10 ms) or of a sliding window."""

    def __init__(self, *, stream=False, sliding=False, keep=False) -> None:
        self.now = 0.0
        self.spikes, self.markers = FakeSpikes(), FakeMarkers()
        self.slots = SlotQueue(64, 4, 1)
        self.acquisition = Acquisition(
            self.spikes,
            None if sliding else self.markers,
            (lambda: SlidingWindows(1, 4, 0.01)) if sliding
            else (lambda: TrialWindows(1, 4, 0.01, start="go")),
            self.slots,
            stream_clock=lambda: stream,
            hold_off=HOLD_OFF,
            poll=0.001,
            keep_truncated=keep,
            clock=lambda: self.now,
        )  # fmt: skip

    def at(self, now: float) -> list[tuple[float, list[int]]]:
        """Go to this moment, look once, and return what was handed over."""
        self.now = now
        self.acquisition.step()
        found = []
        while (slot := self.slots.get(0.0)) is not None:
            found.append((round(slot.start, 6), slot.counts[:, 0].tolist()))
            self.slots.done(slot)
        return found


def test_a_trial_is_closed_by_the_clock_after_the_hold_off():
    world = World()
    world.at(1.0)
    world.markers.waiting.extend([(1.0, "go")])
    world.spikes.push(1.001, 1.012, 1.0395)
    assert world.at(1.0399) == []
    assert world.at(1.0449) == []
    assert world.at(1.0451) == [(1.0, [1, 1, 0, 1])]


def test_silence_is_no_loss():
    world = World()
    world.at(1.0)
    world.markers.waiting.extend([(1.0, "go")])
    assert world.at(1.1) == [(1.0, [0, 0, 0, 0])]


def test_a_stream_clock_is_moved_by_stamps_not_by_time():
    world = World(stream=True)
    world.markers.waiting.extend([(50.0, "recording/start"), (50.0, "go")])
    world.spikes.push(50.001)
    assert world.at(1.0) == []
    assert world.at(1.19) == []
    world.spikes.push(50.0451)
    assert world.at(1.195) == [(50.0, [1, 0, 0, 0])]


def test_a_silent_stream_clock_is_moved_by_markers():
    world = World(stream=True)
    world.markers.waiting.extend([(50.0, "go")])
    world.spikes.push(50.001)
    world.at(1.0)
    world.markers.waiting.extend([(60.0, "recording/stop")])
    assert world.at(1.1) == []
    assert world.at(1.3) == [(50.0, [1, 0, 0, 0])]


def test_spikes_of_a_stream_clock_wait_for_the_first_marker():
    """Else a trial that begins with the recording would seem to lack its first moments."""
    world = World(stream=True)
    world.spikes.push(50.003, 50.1)
    assert world.at(0.5) == []
    world.markers.waiting.extend([(50.0, "go")])
    assert world.at(0.6) == [(50.0, [1, 0, 0, 0])]


@pytest.mark.fault("source-killed")
def test_a_lost_source_stops_the_watermark_and_its_trial_is_not_published():
    world = World()
    world.at(1.0)
    world.markers.waiting.extend([(1.0, "go")])
    world.spikes.push(1.005)
    world.at(1.01)
    world.spikes.state = "waiting"
    assert world.at(1.5) == []
    assert world.acquisition.watermark == pytest.approx(1.005)
    world.spikes.state, world.spikes.opened_at = "open", 1.6
    assert world.at(1.61) == []
    assert world.acquisition.truncated_dropped == 1
    world.markers.waiting.extend([(1.7, "go")])
    world.spikes.push(1.701)
    assert world.at(1.75) == [(1.7, [1, 0, 0, 0])]


def test_a_truncated_trial_is_published_where_that_is_asked_for():
    world = World(keep=True)
    world.at(1.0)
    world.markers.waiting.extend([(1.0, "go")])
    world.spikes.push(1.005)
    world.at(1.01)
    world.spikes.state = "waiting"
    world.at(1.02)
    world.spikes.state, world.spikes.opened_at = "open", 1.03
    assert world.at(1.06) == [(1.0, [1, 0, 0, 0])]


@pytest.mark.fault("clock-jump")
def test_a_stream_clock_may_go_back_when_its_source_comes_back():
    world = World(stream=True)
    world.markers.waiting.extend([(500.0, "go")])
    world.spikes.push(500.001, 500.1)
    assert world.at(1.0) == [(500.0, [1, 0, 0, 0])]
    world.spikes.state = "waiting"
    world.at(2.0)
    world.spikes.state, world.spikes.opened_at = "open", 3.0
    world.markers.waiting.extend([(3.1, "go")])
    world.spikes.push(3.112, 3.2)
    assert world.at(3.2) == [(3.1, [0, 1, 0, 0])]
    counters = world.acquisition.windows.counters
    assert (counters.started, counters.emitted) == (2, 2)
    assert world.acquisition.windows.tally.kept == 4


def test_trials_are_numbered_on_after_a_stream_clock_began_anew():
    world = World(stream=True)
    for number, start in enumerate((500.0, 3.0)):
        world.spikes.state, world.spikes.opened_at = "open", world.now
        world.markers.waiting.extend([(start, "go")])
        world.spikes.push(start + 0.1)
        world.now += 0.1
        world.acquisition.step()
        slot = world.slots.get(0.0)
        assert slot.trial == number
        world.slots.done(slot)
        world.spikes.state = "waiting"
        world.at(world.now + 0.1)


def test_bins_are_put_on_those_of_a_source_of_counts():
    world = World(sliding=True)
    world.spikes.source_bins = SourceBins(width=0.01, to_centre=-0.005)
    world.spikes.opened_at = 1.0
    world.at(1.0)
    # Bins of the source end at 1.0032, 1.0132...: entries come at their centres.
    for k in range(5):
        world.spikes.push(1.0032 + 0.01 * k - 0.005)
        world.spikes.chunks[-1] = world.spikes.chunks[-1]._replace(counts=np.array([k], np.int32))
    given_ = [w for now in np.arange(1.01, 1.1, 0.005) for w in world.at(float(now))]
    assert given_[0][1] == [0, 1, 2, 3]
    assert given_[0][0] % 0.01 == pytest.approx(0.0032, abs=1e-6)


@pytest.mark.fault("burst")
def test_in_a_flood_windows_close_as_far_as_spikes_are_in():
    world = World()
    world.at(1.0)
    world.markers.waiting.extend([(1.0, "go")])
    for k in range(100):
        world.spikes.push(1.0 + 0.001 * k)
    world.now = 2.0
    assert world.at(2.0) == [(1.0, [10, 10, 10, 10])]
    assert world.acquisition.watermark == pytest.approx(1.063 - HOLD_OFF)
    world.at(2.0)
    assert world.acquisition.watermark == pytest.approx(2.0 - HOLD_OFF)
    assert world.acquisition.windows.tally.late == 0


def test_the_next_look_is_when_a_window_falls_due_and_never_at_once():
    world = World()
    world.at(1.0)
    look = world.acquisition._until_next_look
    assert look() == 0.001  # no trial is open
    world.markers.waiting.extend([(1.0, "go")])
    world.at(1.0445)
    assert look() == pytest.approx(0.0005)
    assert world.at(1.0445 + look() + 1e-9) == [(1.0, [0, 0, 0, 0])]
    world.markers.waiting.extend([(1.05, "go")])
    world.at(1.06)
    world.spikes.state = "waiting"
    world.at(2.0)
    assert look() == 0.001  # nothing closes while the source is away
    stream = World(stream=True)
    stream.markers.waiting.extend([(50.0, "go")])
    stream.at(1.0)
    assert stream.acquisition._until_next_look() == 0.001  # stamps close, not time


def test_how_long_spikes_take_to_arrive_is_noted():
    world = World()
    world.spikes.push(0.2, 0.3)
    world.at(1.0)  # they waited for the connection
    world.spikes.push(1.003, 1.001, 1.002)
    world.spikes.push()
    world.at(1.004)
    assert world.acquisition.arrival.percentiles().n == 1
    assert world.acquisition.arrival.percentiles().maximum == pytest.approx(0.003)
    counts = World(sliding=True)
    counts.spikes.source_bins = SourceBins(width=0.01, to_centre=-0.005)
    counts.at(1.0)
    counts.spikes.push(1.005)
    counts.at(1.012)
    assert counts.acquisition.arrival.percentiles().maximum == pytest.approx(0.002)
    stream = World(stream=True, sliding=True)
    stream.at(1.0)
    stream.spikes.push(50.0)
    stream.at(2.0)
    assert stream.acquisition.arrival.n == 0


def test_no_row_of_the_journal_counts_samples_of_two_connections():
    """Else no one could tell which of the recorded samples around a loss the loop had."""
    world = World(sliding=True)
    world.spikes.opened_at = 1.0
    world.at(1.0)
    world.spikes.push(1.001)
    world.at(1.002)
    world.spikes.push(1.003, 1.004)  # of a bin that does not close before the loss
    world.at(1.006)
    world.spikes.state = "waiting"
    world.at(1.3)
    world.spikes.state, world.spikes.opened_at = "open", 1.5
    world.spikes.push(1.52, 1.53, 1.54)
    world.at(1.55)
    (rows,) = (r.copy() for r, _ in world.acquisition.journal.read())
    opened = [(r[1], r[5]) for r in rows if r[0] == Event.OPEN]
    assert opened == [(0, 1.0), (3, 1.5)]
    assert rows[-1, 1] == 6
