"""Another process replays, the loop runs here, a third process reads with pylsl.

What it reads equals offline inference of the same recording, to the bit, stamps included.
"""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from e2e.conftest import read_factors, rig_of

from bci_lfads.engines import open_engine
from bci_lfads.offline import cut, infer_all
from bci_lfads.recordings import Markers, Recording, SpikeEvents, to_counts, write
from bci_lfads.recordings.simulate import simulate_lorenz

pytestmark = pytest.mark.lsl
N_BINS, WIDTH = 30, 0.01
TRIALS = {"mode": "trials", "start": "trial/start"}
PATIENT = {"hold_off": 0.5}  # a busy machine pushes spikes late, and late ones are left out


@pytest.fixture(scope="module")
def recording() -> Recording:
    return simulate_lorenz(8, n_units=12, rate=20.0, trial_length=0.5, gap=(0.1, 0.2), seed=3)


def shifted(recording: Recording, first_stamp: float) -> Recording:
    """Return the recording on the clock of a replay, by the very sums that the replay does."""
    shift = first_stamp - recording.start
    spikes = recording.spikes
    if isinstance(spikes, SpikeEvents):
        spikes = SpikeEvents(spikes.times + shift, spikes.units)
    else:
        spikes = replace(spikes, start=spikes.start + shift)
    return replace(
        recording, spikes=spikes, start=recording.start + shift, stop=recording.stop + shift,
        markers=Markers(recording.markers.times + shift, recording.markers.labels), series={},
    )  # fmt: skip


class Reader:
    def __init__(self, stream: str, out: Path) -> None:
        self.out = out
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("reader.py")), stream, str(out)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout.readline() == "ready\n"

    def finish(self):
        self.process.communicate("over\n", timeout=30.0)
        assert self.process.returncode == 0
        return read_factors(self.out)


@pytest.mark.parametrize("form", ["events", "ids", "counts"])
def test_trials(recording, form, unique, tmp_path, command, running, model_of):
    file = tmp_path / "recording.npz"
    write(recording, file)
    model = model_of(recording.unit_labels, N_BINS, WIDTH)
    rig = rig_of(unique, TRIALS, output={"rates": True}, binning=PATIENT)
    loop = running(rig, model)
    readers = [Reader(f"{unique} {s}", tmp_path / f"{s}.npz") for s in ("TrialFactors", "Rates")]
    arguments = ["--format", form] + (["--bin-width", WIDTH] if form == "counts" else [])
    played = command(
        "replay", file, "--spikes", f"{unique} S", "--markers", f"{unique} M", "--wait", 30,
        "--json", *arguments,
    ).result()  # fmt: skip
    report = loop.finish()
    heard, rates = (r.finish() for r in readers)
    live = shifted(recording, played["first_stamp"])
    if form == "counts":
        live = shifted(to_counts(recording, WIDTH), played["first_stamp"])
    batch = cut(live, model, rig.window)
    with open_engine("native", model) as engine:
        offline = infer_all(engine, batch.counts)
    n = len(batch.counts)
    assert n == 8
    counters = report.status["counters"]
    assert counters["windows"] == n
    assert counters["spikes"]["late"] == counters["spikes"]["unknown"] == 0
    assert counters["spikes"]["received"] == played["spikes"]
    for row, (trial, _, counts) in enumerate(sorted(loop.counts, key=lambda w: w[0])):
        assert trial == row
        np.testing.assert_array_equal(counts, batch.counts[row])
    samples = heard["samples"].reshape(n, N_BINS, -1)
    np.testing.assert_array_equal(samples[..., :3], offline.factors)
    np.testing.assert_array_equal(samples[:, 0, 3], np.arange(n))
    np.testing.assert_array_equal(samples[0, :, 4], np.arange(N_BINS))
    centres = batch.starts[:, None] + (np.arange(N_BINS) + 0.5) * WIDTH
    if form == "counts":  # edges come from stamps of the source's bins, rounded at another place
        np.testing.assert_allclose(heard["stamps"], centres.ravel(), rtol=0, atol=1e-9)
    else:
        np.testing.assert_array_equal(heard["stamps"], centres.ravel())
    np.testing.assert_array_equal(
        rates["samples"].reshape(n, N_BINS, -1)[..., :-2], np.exp(offline.log_rates)
    )


@pytest.mark.parametrize(("form", "hop"), [("events", 1), ("counts", 3)])
def test_a_sliding_window(recording, form, hop, unique, tmp_path, command, running, model_of):
    file = tmp_path / "recording.npz"
    write(recording, file)
    model = model_of(recording.unit_labels, N_BINS, WIDTH)
    rig = rig_of(unique, {"mode": "sliding", "hop": hop}, binning=PATIENT)
    loop = running(rig, model)
    reader = Reader(f"{unique} Factors", tmp_path / "factors.npz")
    arguments = ["--format", form] + (["--bin-width", WIDTH] if form == "counts" else [])
    played = command(
        "replay", file, "--spikes", f"{unique} S", "--markers", "", "--wait", 30, "--json",
        *arguments,
    ).result()  # fmt: skip
    report = loop.finish()
    heard = reader.finish()
    live = to_counts(recording, WIDTH) if form == "counts" else recording
    batch = cut(shifted(live, played["first_stamp"]), model, rig.window)
    with open_engine("native", model) as engine:
        offline = infer_all(engine, batch.counts).factors[:, -hop:].reshape(-1, 3)
    stamps = batch.starts[:, None] + (np.arange(N_BINS)[-hop:] + 0.5) * WIDTH
    assert report.status["counters"]["dropped"] == 0
    assert report.status["counters"]["spikes"]["late"] == 0
    # The loop begins before the recording and ends after it: compare what both have.
    received = {round(t, 5): row for t, row in zip(heard["stamps"], heard["samples"], strict=True)}
    assert len(received) == len(heard["stamps"])
    found = np.array([received[round(t, 5)] for t in stamps.ravel()])
    np.testing.assert_array_equal(found, offline)
    assert np.diff(heard["stamps"]) == pytest.approx(WIDTH, abs=1e-9)


def test_as_fast_as_the_loop_takes_it(recording, unique, tmp_path, command, running, model_of):
    """A replay that follows the rig loses nothing, though it does not run by the clock."""
    file = tmp_path / "recording.npz"
    write(recording, file)
    model = model_of(recording.unit_labels, N_BINS, WIDTH)
    for window in (TRIALS, {"mode": "sliding", "hop": 1}):
        rig = rig_of(unique + window["mode"], window, loop={"queue": 2})
        loop = running(rig, model)
        played = command(
            "replay", file, "--spikes", f"{rig.name} S", "--markers",
            f"{rig.name} M" if window is TRIALS else "", "--wait", 30, "--json",
            "--speed", "max", "--follow", rig.name,
        ).result()  # fmt: skip
        report = loop.finish()
        batch = cut(shifted(recording, played["first_stamp"]), model, rig.window)
        assert report.status["counters"]["dropped"] == 0
        assert report.status["counters"]["spikes"]["received"] == recording.n_spikes
        found = {round(start, 5): counts for _, start, counts in loop.counts}
        # Bins of silence before the first stamp are not known, after the last closed by no one.
        first, last = loop.counts[0][1], loop.counts[-1][1]
        known = (batch.starts > first - 1e-6) & (batch.starts < last)
        assert np.count_nonzero(known) > 0.9 * len(batch.starts) - 2
        for start, counts in zip(batch.starts[known], batch.counts[known], strict=True):
            np.testing.assert_array_equal(found[round(start, 5)], counts)
