"""The listener: what it keeps of a rig's streams, and what it says where there are none."""

import threading

import numpy as np
import pylsl
import pytest

from bci_lfads.errors import StreamError
from bci_lfads.listen import LATENCY_COLUMNS, Heard, listen, load_heard
from bci_lfads.streams.outlets import LATENCY_CHANNELS, Outlets, OutletSettings

N_BINS, N_FACTORS = 5, 2
START = 1000.0  # seconds; LSL takes a stamp of zero for none


def outlets(rig, hop=None):
    return Outlets(
        OutletSettings(
            rig=rig, unit_labels=("u1", "u2"), n_factors=N_FACTORS, bin_width=0.01, n_bins=N_BINS,
            hop=hop, model_hash="c0ffee", engine="native", number_format="int16", input_source="S",
        )
    )  # fmt: skip


def heard_of(rows, received=None):
    """Return what was heard if these samples (factors, trial, bin) were all."""
    factors = np.array(rows, np.float32).reshape(-1, N_FACTORS + 2)
    n = len(factors)
    times = np.arange(n, dtype=float)
    return Heard(
        factors, times, times if received is None else np.array(received), np.array([7.0]),
        np.array([[np.nan, 1.0, 2.0, 3.0, 4.0]]), [{"state": "running", "trial": None}],
    )  # fmt: skip


def trial(number, n_bins=N_BINS):
    return [[10 * number + b, -b, number, b] for b in range(n_bins)]


# Without a network


def test_what_was_heard_is_saved_and_loaded(tmp_path):
    heard = heard_of(trial(0) + trial(1))
    heard.status.append({"state": "stopped", "reason": "Größe <3>", "n": [1, 2.5]})
    heard.save(tmp_path / "heard")
    again = load_heard(tmp_path / "heard")
    for name in ("factors", "stamps", "received", "latency_stamps", "latency"):
        np.testing.assert_array_equal(getattr(again, name), getattr(heard, name))
        assert getattr(again, name).dtype == getattr(heard, name).dtype
    assert again.status == heard.status


def test_nothing_heard_is_saved_and_loaded(tmp_path):
    heard = Heard(
        np.empty((0, 4), np.float32), np.empty(0), np.empty(0), np.empty(0), np.empty((0, 5))
    )
    heard.save(tmp_path / "heard.npz")
    again = load_heard(tmp_path / "heard.npz")
    assert again.factors.shape == (0, 4)
    assert again.status == []
    assert again.trials() == again.received_at() == {}


def test_trials_come_by_their_number_in_the_order_of_their_bins():
    found = heard_of(trial(4) + trial(2)).trials()
    assert sorted(found) == [2, 4]
    np.testing.assert_array_equal(found[2], [[20 + b, -b] for b in range(N_BINS)])
    assert found[4].dtype == np.float32


@pytest.mark.parametrize(
    "rows",
    [trial(1)[1:], trial(1)[:-1], trial(1)[:2] + trial(1)[3:], trial(1) + trial(1)],
    ids=["first bin", "last bin", "middle bin", "twice"],
)
def test_a_trial_that_is_not_whole_is_left_out(rows):
    assert list(heard_of(trial(0) + rows).trials()) == [0]


def test_a_trial_is_received_when_its_last_bin_is():
    received = [1.0, 1.0, 1.5, 2.0, 2.5, 3.0, 3.0, 3.0, 3.0, 3.25]
    assert heard_of(trial(3) + trial(8), received).received_at() == {3: 2.5, 8: 3.25}


def test_latency_columns_are_those_that_are_published():
    assert LATENCY_COLUMNS == LATENCY_CHANNELS


# Over LSL


class Listening:
    """A listener in a thread, that is ready when this is made."""

    def __init__(self, rig, **options):
        self.stop, self.heard, self.done = threading.Event(), [], []
        ready = threading.Event()

        def body():
            self.heard.append(
                listen(rig, self.stop, on_ready=ready.set, on_samples=self.done.append, **options)
            )

        self.thread = threading.Thread(target=body)
        self.thread.start()
        assert ready.wait(15.0)

    def result(self):
        self.thread.join(15.0)
        assert not self.thread.is_alive()
        return self.heard[0]


@pytest.mark.lsl
def test_trials_latencies_and_status_are_received_until_the_rig_stops(unique):
    out = outlets(unique)
    listener = Listening(unique)
    began = pylsl.local_clock()
    factors = np.arange(3 * N_BINS * N_FACTORS, dtype=np.float32).reshape(3, N_BINS, N_FACTORS)
    for number, values in enumerate(factors):
        out.push_trial(values, None, START + number + 0.01 * np.arange(N_BINS), number)
        out.push_latency(number + 0.5, float("nan"), 1.0, 2.0, 3.0, number)
    out.push_status({"state": "running"}, 1.0)
    out.push_status({"state": "stopped", "counters": {"windows": 3}}, 2.0)
    heard = listener.result()
    out.close()
    found = heard.trials()
    assert sorted(found) == [0, 1, 2]
    np.testing.assert_array_equal([found[n] for n in range(3)], factors)
    np.testing.assert_array_equal(heard.stamps[:N_BINS], START + 0.01 * np.arange(N_BINS))
    assert (heard.received >= began).all()
    assert (heard.received <= pylsl.local_clock()).all()
    np.testing.assert_array_equal(heard.latency_stamps, [0.5, 1.5, 2.5])
    np.testing.assert_array_equal(heard.latency[:, 1:], [[1, 2, 3, n] for n in range(3)])
    assert np.isnan(heard.latency[:, 0]).all()
    assert [s["state"] for s in heard.status] == ["running", "stopped"]
    assert listener.done[-1] == 3 * N_BINS
    assert listener.done == sorted(listener.done)


@pytest.mark.lsl
def test_a_sliding_window_is_received_until_it_is_told_to_stop(unique):
    out = outlets(unique, hop=1)
    listener = Listening(unique, sliding=True)
    for n in range(20):
        out.push_sliding(np.full((1, N_FACTORS), n, np.float32), None, np.array([START + 0.01 * n]))
    while not listener.done or listener.done[-1] < 20:
        assert listener.thread.is_alive()
        listener.stop.wait(0.01)
    listener.stop.set()
    heard = listener.result()
    out.close()
    np.testing.assert_array_equal(heard.factors, np.repeat(np.arange(20), 2).reshape(20, 2))
    np.testing.assert_array_equal(heard.stamps, START + 0.01 * np.arange(20))
    assert heard.latency.shape == (0, 5)
    assert heard.status == []


@pytest.mark.lsl
def test_a_rig_that_does_not_run_is_named(unique):
    with pytest.raises(StreamError, match=rf"no stream '{unique} TrialFactors'.*rig '{unique}'"):
        listen(unique, threading.Event(), timeout=0.2)


@pytest.mark.lsl
def test_a_rig_with_quotes_in_its_name_is_looked_for(unique):
    rig = f"{unique}'s"
    with pytest.raises(StreamError, match=rf"no stream '{rig} TrialFactors'"):
        listen(rig, threading.Event(), timeout=0.2)


@pytest.mark.lsl
@pytest.mark.parametrize(
    ("hop", "sliding", "says"), [(1, False, "with --sliding"), (None, True, "without --sliding")]
)
def test_who_listens_for_the_other_kind_of_window_is_told(unique, hop, sliding, says):
    out = outlets(unique, hop)
    try:
        with pytest.raises(StreamError, match=says):
            listen(unique, threading.Event(), sliding=sliding, timeout=0.3)
    finally:
        out.close()


@pytest.mark.lsl
def test_who_stops_listening_before_the_streams_are_there_hears_nothing_at_once(unique):
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    heard = listen(unique, stop, timeout=30.0)
    assert (len(heard.stamps), len(heard.latency), heard.status) == (0, 0, [])
