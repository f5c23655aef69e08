import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bci_lfads.errors import RecordingError, StreamError
from bci_lfads.recordings.recording import BinnedCounts, Markers, Recording, SpikeEvents
from bci_lfads.recordings.replay import ReplayControl, Replayer
from bci_lfads.recordings.replay.lateness import LatenessRecord, PushLog
from bci_lfads.recordings.replay.schedule import schedule


class Clock:
    """A clock that only moves when someone sleeps, or reads it (a microsecond)."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        self.now += 1e-6
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 1e-6)


class Control(ReplayControl):
    """Waits for orders on the simulated clock."""

    def __init__(self, clock: Clock, *, paused: bool = False) -> None:
        super().__init__(paused=paused)
        self._clock = clock

    def wait(self, seconds: float) -> None:
        self._clock.sleep(seconds)


class Sink:
    """Notes what is pushed, and when; serves as spike and as marker source."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.spikes: list[tuple[float, int, float]] = []
        self.rows: list[tuple[float, np.ndarray, float]] = []
        self.marks: list[tuple[float, str, float]] = []

    def push(self, times, units):
        if isinstance(units, str):
            self.marks.append((times, units, self.clock.now))
            return
        assert units.dtype == np.int32
        self.spikes += [(t, int(u), self.clock.now) for t, u in zip(times, units, strict=True)]

    def push_counts(self, counts, times):
        assert counts.dtype == np.uint8
        self.rows += [(t, row, self.clock.now) for t, row in zip(times, counts, strict=True)]

    @property
    def stamps(self) -> np.ndarray:
        return np.array([t for t, _, _ in self.spikes])

    @property
    def labels(self) -> list[str]:
        return [label for _, label, _ in self.marks]


def recording(times=(10.0, 10.25, 10.25, 10.9, 11.7), units=(0, 1, 0, 2, 1)) -> Recording:
    return Recording(
        SpikeEvents(np.array(times, float), np.array(units, np.int32)),
        ("a", "b", "c"),
        start=10.0,
        stop=12.0,
        markers=Markers(np.array([10.2, 10.8, 11.5]), ("go/1", "end", "go/2")),
    )


def make(rec: Recording, **options):
    clock = Clock()
    sink = Sink(clock)
    on_progress = options.pop("on_progress", None)
    replayer = Replayer(
        rec, sink, sink, clock=clock, sleep=clock.sleep,
        on_progress=None if on_progress is None else (lambda p: on_progress(p)), **options,
    )  # fmt: skip
    return replayer, sink, clock


def test_live_stamps_are_lsl_time_and_pushes_are_on_schedule():
    rec = recording()
    replayer, sink, _ = make(rec)
    report = replayer.run()
    np.testing.assert_allclose(sink.stamps - report.first_stamp, rec.spikes.times - 10, atol=1e-9)
    assert [u for _, u, _ in sink.spikes] == list(rec.spikes.units)
    assert sink.labels == ["recording/start", "go/1", "end", "go/2", "recording/stop"]
    for stamp, _, pushed in sink.spikes + sink.marks:
        assert 0 <= pushed - stamp < 1e-3
    assert sink.marks[-1][0] == pytest.approx(report.first_stamp + 2)
    assert report.lateness is not None
    assert report.lateness.n == report.n_spikes == 5
    assert report.lateness.max < 1e-3
    assert report.n_markers == 3
    assert not report.stopped


def test_a_faster_replay_keeps_the_stamps_intervals():
    replayer, sink, clock = make(recording(), speed=10)
    begun = clock.now
    report = replayer.run()
    np.testing.assert_allclose(
        sink.stamps - report.first_stamp, recording().spikes.times - 10, atol=1e-9
    )
    pushed = np.array([when for _, _, when in sink.spikes]) - report.first_stamp
    np.testing.assert_allclose(pushed, (recording().spikes.times - 10) / 10, atol=1e-3)
    assert clock.now - begun < 0.4


def test_a_loop_shifts_the_stamps_on():
    control = ReplayControl()
    replayer, sink, _ = make(
        recording(), loop=True, on_progress=lambda p: control.stop() if p.loop == 2 else None
    )
    report = replayer.run(control)
    assert report.stopped
    assert report.loops == 2
    first = sink.stamps[:5] - report.first_stamp
    np.testing.assert_allclose(sink.stamps[5:10] - report.first_stamp, first + 2, atol=1e-9)
    assert sink.labels.count("go/1") == 2
    assert sink.labels.count("recording/start") == sink.labels.count("recording/stop") == 1
    assert (np.diff(sink.stamps) >= 0).all()


@pytest.mark.parametrize("speed", [1, 5, "max"])
def test_pause_step_seek_and_stop(speed):
    seen: list[tuple[int, list[str]]] = []
    clock = Clock()
    control = Control(clock, paused=True)
    sink = Sink(clock)
    orders = iter([
        lambda: control.step_to("go/*"),  # the marker at 10.2 and all up to it
        lambda: control.step(0.05),  # the spikes at 10.25, inclusive
        lambda: control.step_to("go/*"),
        lambda: control.seek(0.0),
        lambda: control.step(0.21),
        lambda: control.stop(),
    ])  # fmt: skip

    def on_progress(progress):
        if progress.paused:
            seen.append((progress.n_spikes, sink.labels[1:]))
            next(orders, lambda: None)()

    newest = [0.0]

    def progress_of_consumer():
        newest[0] = max([newest[0], *sink.stamps[-1:]])
        return newest[0] or None

    replayer = Replayer(
        recording(), sink, sink, speed=speed, clock=clock, sleep=clock.sleep,
        on_progress=on_progress, progress=progress_of_consumer,
    )  # fmt: skip
    report = replayer.run(control)
    assert report.stopped
    assert [n for n, _ in seen[:6]] == [0, 1, 3, 4, 4, 5]
    assert seen[1][1] == ["go/1"]
    assert seen[3][1] == ["go/1", "end", "go/2"]
    assert (np.diff(sink.stamps) >= 0).all()
    # After the seek the first spike comes again with a later stamp.
    assert sink.stamps[4] >= sink.stamps[3] + 0.6 - 1e-6
    if speed == 1:
        for stamp, _, pushed in sink.spikes:
            assert 0 <= pushed - stamp < 1e-3


def test_resume_takes_a_pause_back_and_stamps_stay_live():
    replayer, sink, clock = make(recording())
    control = Control(clock)
    paused_at: list[float] = []

    def on_progress(progress):
        if progress.position > 0.5 and not paused_at:
            paused_at.append(progress.position)
            control.pause()
        elif progress.paused:
            clock.now += 3.0
            control.resume()

    replayer._on_progress = on_progress
    report = replayer.run(control)
    offsets = sink.stamps - report.first_stamp - (recording().spikes.times - 10)
    np.testing.assert_allclose(offsets[:3], 0, atol=1e-9)
    assert (offsets[3:] > 2.9).all()
    assert np.ptp(offsets[3:]) < 1e-9
    assert report.lateness is not None
    assert report.lateness.max < 1e-3


def test_counts_keep_to_their_grid_through_loops_pauses_and_seeks():
    rec = recording()
    done: list[str] = []
    replayer, sink, clock = make(rec, form="counts", bin_width=0.3, loop=True)
    control = Control(clock)

    def on_progress(progress):
        if progress.position > 0.5 and not done:
            done.append("pause")
            control.pause()
        elif progress.paused:
            clock.now += 0.77
            control.resume()
        elif len(sink.rows) > 4 and len(done) == 1:
            done.append("seek")
            control.seek(0.1)
        elif progress.loop == 2:
            control.stop()

    replayer._on_progress = on_progress
    report = replayer.run(control)
    stamps = np.array([t for t, _, _ in sink.rows]) - report.first_stamp
    bins = stamps / 0.3
    np.testing.assert_allclose(bins, np.round(bins), atol=1e-6)
    assert (np.diff(stamps) > 0.29).all()
    first = np.stack([row for _, row, _ in sink.rows])[:2]
    np.testing.assert_array_equal(first, [[2, 1, 0], [0, 0, 0]])


def test_max_goes_as_far_ahead_as_the_consumer_allows_and_no_further():
    times = np.arange(0, 100, 0.01)
    rec = Recording(SpikeEvents(times, np.zeros(len(times), np.int32)), ("a",), 0.0, 100.0)
    clock = Clock()
    sink = Sink(clock)
    watermark: list[float | None] = [None]
    ahead: list[float] = []

    def progress():
        if len(sink.spikes):
            newest = sink.spikes[-1][0]
            ahead.append(newest - (watermark[0] or sink.spikes[0][0]))
            # A consumer that takes 0.1 s of recording each time it is asked.
            watermark[0] = min(newest, (watermark[0] or sink.spikes[0][0]) + 0.1)
        return watermark[0]

    replayer = Replayer(
        rec, sink, sink, speed="max", progress=progress, ahead=2.0, clock=clock, sleep=clock.sleep
    )
    report = replayer.run()
    assert report.n_spikes == len(times)
    assert max(ahead) <= 2.0 + 0.01 + 1e-6
    assert max(ahead) > 1.5
    assert report.elapsed < 50
    assert report.lateness is None


def test_max_crosses_a_silent_stretch_and_gives_up_on_a_consumer_that_stands():
    rec = recording(times=(10.0, 10.1, 11.9), units=(0, 0, 0))
    far = Recording(SpikeEvents(np.array([0.0, 500.0]), np.zeros(2, np.int32)), ("a",), 0.0, 500.5)
    clock = Clock()
    sink = Sink(clock)
    replayer = Replayer(
        far, sink, sink, speed="max", clock=clock, sleep=clock.sleep,
        progress=lambda: sink.stamps[-1] - 0.1 if sink.spikes else None,
    )  # fmt: skip
    assert replayer.run().n_spikes == 2
    stuck = Replayer(
        rec, Sink(clock), Sink(clock), speed="max", ahead=1.0, timeout=5.0,
        progress=lambda: None, clock=clock, sleep=clock.sleep,
    )  # fmt: skip
    with pytest.raises(StreamError, match="closed no bin for 5 s"):
        stuck.run()


@given(
    times=st.lists(st.floats(0, 9.999), max_size=60),
    bin_width=st.sampled_from([0.01, 0.3, 1.0, 20.0]),
    start=st.floats(-1e5, 1e5),
)
@settings(max_examples=60, deadline=None)
def test_counts_are_those_of_numpy_histogram(times, bin_width, start):
    at = np.sort(np.array(times, float)) + start
    units = np.arange(at.size, dtype=np.int32) % 3
    at = at[(at >= start) & (at < start + 10)]
    rec = Recording(SpikeEvents(at, units[: at.size]), ("a", "b", "c"), start, start + 10.0)
    plan = schedule(rec, "counts", bin_width)
    n = len(plan.values)
    edges = start + bin_width * np.arange(n + 1)
    assert edges[-1] >= rec.stop - 1e-6
    for unit in range(3):
        # The last edge is closed in numpy.histogram and never reached here.
        expected, _ = np.histogram(at[rec.spikes.units == unit], np.r_[edges, np.inf])
        np.testing.assert_array_equal(plan.values[:, unit], expected[:-1])
    assert plan.count(0, n) == plan.values.sum()


def test_counts_recordings_are_replayed_as_counts_or_as_events_at_bin_centres():
    counts = np.array([[0, 2], [1, 0], [0, 0]], np.uint8)
    rec = Recording(BinnedCounts(counts, 0.5, 3.0), ("a", "b"), 3.0, 4.5)
    events = schedule(rec, "ids")
    np.testing.assert_array_equal(events.times, [3.25, 3.25, 3.75])
    np.testing.assert_array_equal(events.values, [1, 1, 0])
    plan = schedule(rec, "counts")
    np.testing.assert_array_equal(plan.times, [3.5, 4.0, 4.5])
    np.testing.assert_array_equal(plan.values, counts)
    np.testing.assert_array_equal(schedule(rec, "counts", 1.0).values, [[1, 2], [0, 0]])
    with pytest.raises(RecordingError, match=r"bins of 0\.5 s"):
        schedule(rec, "counts", 0.1)
    replayer, sink, _ = make(rec, form="counts")
    assert replayer.run().n_spikes == 3
    assert len(sink.rows) == 3


@pytest.mark.parametrize("options", [{"speed": 0}, {"speed": -1.0}, {"speed": "max"},
                                     {"form": "counts"}])  # fmt: skip
def test_what_cannot_be_replayed_is_refused(options):
    with pytest.raises(RecordingError):
        make(recording(), **options)


def test_a_recording_without_spikes_or_markers_still_has_its_length():
    empty = Recording(SpikeEvents(np.empty(0), np.empty(0, np.int32)), ("a",), 5.0, 6.0)
    replayer, sink, _ = make(empty)
    report = replayer.run()
    assert report.lateness is None
    assert sink.labels == ["recording/start", "recording/stop"]
    assert report.last_stamp - report.first_stamp == pytest.approx(1.0)


@given(st.lists(st.floats(1e-6, 50), min_size=1, max_size=300))
@settings(max_examples=50, deadline=None)
def test_lateness_quantiles_are_right_to_a_few_percent(late):
    record = LatenessRecord()
    record.add(np.array(late))
    summary = record.summary()
    assert summary is not None
    assert summary.n == len(late)
    assert summary.max == max(late)
    assert summary.within_1ms == pytest.approx(np.mean(np.array(late) <= 1e-3))
    for q, value in ((0.5, summary.median), (0.99, summary.p99)):
        true = np.quantile(late, q, method="inverted_cdf")
        assert true * 0.999 <= value <= true * 1.025 + 1e-6


def test_when_each_spike_was_pushed_is_kept(tmp_path):
    recording = Recording(
        SpikeEvents(np.array([0.1, 0.2, 0.2, 0.7]), np.zeros(4, np.int32)), ("a",), 0.0, 1.0
    )
    log = PushLog()
    replayer, sink, _ = make(recording, on_push=log)
    replayer.run()
    log.save(tmp_path / "log.npz")
    with np.load(tmp_path / "log.npz") as file:
        np.testing.assert_array_equal(file["stamps"], sink.stamps)
        late = file["pushed"] - file["stamps"]
    assert (late >= 0).all()
    assert (late < 1e-3).all()
    PushLog().save(tmp_path / "empty.npz")
    with np.load(tmp_path / "empty.npz") as file:
        assert file["stamps"].shape == file["pushed"].shape == (0,)
