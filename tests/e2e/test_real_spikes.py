"""Genuine spike times (monkey motor cortex, 97 units) over LSL: exact counts at the other end."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from e2e.conftest import rig_of

from bci_lfads.engines import open_engine
from bci_lfads.offline import cut, infer_all
from bci_lfads.recordings import Markers, Recording, SpikeEvents, read, write

pytestmark = pytest.mark.lsl
N_BINS, WIDTH = 70, 0.01
TRIALS = {"mode": "trials", "start": "trial/*"}


def beginning(recording: Recording, stop: float) -> Recording:
    """Return what came before `stop`."""
    spikes, markers = recording.spikes, recording.markers
    assert isinstance(spikes, SpikeEvents)
    n = int(np.searchsorted(spikes.times, stop))
    m = int(np.searchsorted(markers.times, stop))
    return replace(
        recording, stop=stop, spikes=SpikeEvents(spikes.times[:n], spikes.units[:n]),
        markers=Markers(markers.times[:m], markers.labels[:m]),
    )  # fmt: skip


def histograms(recording: Recording, first_stamp: float) -> np.ndarray:
    """Count each trial's spikes by NumPy alone, on the clock of the replay."""
    spikes, shift = recording.spikes, first_stamp - recording.start
    assert isinstance(spikes, SpikeEvents)
    times = spikes.times + shift
    units = np.arange(recording.n_units + 1) - 0.5
    counts = []
    for zero in recording.markers.times + shift:
        edges = zero + np.arange(N_BINS + 1) * WIDTH
        one, _, _ = np.histogram2d(times, spikes.units, (edges, units))
        # NumPy's last bin holds its right edge too; ours do not.
        last = np.bincount(spikes.units[times == edges[-1]], minlength=recording.n_units)
        one[-1] -= last
        counts.append(one)
    return np.array(counts)


@pytest.mark.parametrize(
    ("seconds", "arguments"),
    [(15.0, ()), pytest.param(None, ("--speed", "max"), marks=pytest.mark.slow)],
    ids=["in its own time", "all of it, as fast as it is taken"],
)
def test_counts_are_exact(
    seconds, arguments, shared_data, unique, tmp_path, command, running, model_of
):
    recording = read(shared_data / "shenoy-delay-97u-1ms" / "ps4_realdata.mat")
    if seconds is not None:
        recording = beginning(recording, recording.start + seconds)
    file: Path = tmp_path / "real.npz"
    write(recording, file)
    model = model_of(recording.unit_labels, N_BINS, WIDTH)
    rig = rig_of(unique, TRIALS)
    loop = running(rig, model)
    if arguments:
        arguments += ("--follow", unique)
    played = command(
        "replay", file, "--spikes", f"{unique} S", "--markers", f"{unique} M", "--wait", 30,
        "--json", *arguments,
    ).result(timeout=240.0)  # fmt: skip
    report = loop.finish()
    expected = histograms(recording, played["first_stamp"])
    tally = report.status["counters"]["spikes"]
    assert played["spikes"] == tally["received"] == recording.n_spikes
    assert tally["unknown"] == tally["invalid"] == tally["saturated"] == 0
    assert report.status["counters"]["dropped"] == 0
    assert len(loop.counts) == len(expected) == len(recording.markers.times)
    for trial, _, counts in loop.counts:
        np.testing.assert_array_equal(counts, expected[trial])
    # And offline inference cuts the recording's own clock in the same way.
    batch = cut(recording, model, rig.window)
    with open_engine("native", model) as engine:
        assert infer_all(engine, batch.counts[:4]).factors.shape == (4, N_BINS, 3)
    np.testing.assert_array_equal(batch.counts, expected)
