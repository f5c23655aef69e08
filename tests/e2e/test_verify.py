"""Recorded sessions verified: in good order, with faults, and after they were tampered with."""

import copy
import json
import os
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pylsl
import pytest

from bci_lfads.journal import Event
from bci_lfads.models.model import Model
from bci_lfads.recordings import read, write
from bci_lfads.recordings.nwb_export import export_nwb
from bci_lfads.recordings.recorder_process import RecorderProcess
from bci_lfads.recordings.simulate import simulate_lorenz
from bci_lfads.rig import load_rig
from bci_lfads.streams.sources import MarkerSource, SpikeSource
from bci_lfads.verification import load_runs, verify
from bci_lfads.verification.inputs import RunInput

pytestmark = pytest.mark.lsl
N_BINS, WIDTH = 30, 0.01
UNITS = tuple(f"u{k}" for k in range(6))


def write_rig(folder, name, window, more=""):
    path = folder / "rig.toml"
    path.write_text(
        f"""
        name = "{name}"
        model = "model.safetensors"
        [input.spikes]
        name = "{name} S"
        [input.markers]
        name = "{name} M"
        [output]
        rates = true
        [window]
        {window}
        {more}
        """
    )
    return path


@pytest.fixture(scope="module")
def trials(tmp_path_factory):
    """A session of trials with its model, as three commands make it; see the first test."""
    return {"folder": tmp_path_factory.mktemp("trials")}


def test_run_record_verify(trials, unique, command, model_of):
    folder, recording = trials["folder"], simulate_lorenz(5, n_units=12, rate=20.0, seed=5)
    write(recording, folder / "recording.npz")
    model = model_of(recording.unit_labels, N_BINS, WIDTH)
    model.save(folder / "model.safetensors")
    # What is late on a busy machine is another test's matter.
    window = 'mode = "trials"\nstart = "trial/start"'
    rig = write_rig(folder, unique, window, "[binning]\nhold_off = 0.2")
    session = folder / "session.xdf"
    player = command(
        "replay", folder / "recording.npz", "--spikes", f"{unique} S", "--markers", f"{unique} M",
        "--loop",
    )  # fmt: skip
    loop = command("run", rig, "--record", session, "--seconds", 9, "--json")
    report = loop.result()
    player.kill()
    assert report["recording"] == {"file": str(session), "problem": ""}
    # The model lies beside the session.
    found = command("verify", session, "--json").result()
    (run,) = found["runs"]
    assert found["proven"]
    assert run["problems"] == []
    assert run["incomplete"] == {}
    assert run["unverified"] == {}
    assert run["published"] == run["equal"] == report["status"]["counters"]["windows"] >= 3
    assert run["facts"]["ended"] == "in good order"
    assert run["facts"]["spikes_taken"] == report["status"]["counters"]["spikes"]["received"]
    trials["session"], trials["model"] = session, model


def changed(stream, **parts):
    return replace(stream, **{k: part(getattr(stream, k).copy()) for k, part in parts.items()})


def flip(values):
    values[7, 1] = np.nextafter(values[7, 1], np.float32(np.inf))
    return values


@pytest.mark.parametrize(
    ("what", "says"),
    [
        (lambda r: replace(r, factors=changed(r.factors, values=flip)), "are not those of"),
        (lambda r: replace(r, rates=changed(r.rates, values=flip)), "are not those of"),
        (
            lambda r: replace(r, factors=changed(r.factors, stamps=lambda t: t + 1e-9)),
            "are not those of",
        ),
        (
            lambda r: replace(
                r,
                factors=changed(
                    r.factors, values=lambda v: v[N_BINS:], stamps=lambda t: t[N_BINS:]
                ),
            ),
            "no counter says why",
        ),
        (
            lambda r: replace(
                r, spikes=(changed(r.spikes[0], values=lambda v: v[:, ::-1]), *r.spikes[1:])
            ),
            "are not those of|counter",
        ),
        (
            lambda r: replace(
                r,
                spikes=(
                    changed(r.spikes[0], values=lambda v: v[::2], stamps=lambda t: t[::2]),
                    *r.spikes[1:],
                ),
            ),
            "samples that the loop took are not in the recording",
        ),
    ],
    ids=["a factor's last bit", "a rate's", "a stamp", "a trial", "units", "every other spike"],
)
def test_what_was_changed_is_found(trials, what, says):
    if "session" not in trials:
        pytest.skip("there is no session")
    (run,) = load_runs(trials["session"])
    result = verify(what(run), trials["model"])
    assert not result.proven
    assert any(p for p in result.problems if any(s in p for s in says.split("|"))), result.problems


def test_a_recording_that_was_cut_off_anywhere_is_verified_up_to_there(trials, tmp_path):
    """As by a recorder that is killed, which writes one stream after the other."""
    if "session" not in trials:
        pytest.skip("there is no session")
    whole = trials["session"].read_bytes()
    verified = []
    for size in np.linspace(0.55, 0.999, 12) * len(whole):
        cut = tmp_path / "cut.xdf"
        cut.write_bytes(whole[: int(size)])
        (run,) = load_runs(cut)
        result = verify(run, trials["model"])
        assert result.proven or not result.published, result.problems
        unverified = sum(result.unverified.values())
        assert result.equal == result.published - unverified
        assert unverified <= 1
        verified.append(result.equal)
    assert verified == sorted(verified)
    assert verified[-1] >= 2


def test_a_stream_that_ends_long_before_the_others_is_no_end_of_the_recording(trials):
    if "session" not in trials:
        pytest.skip("there is no session")
    (run,) = load_runs(trials["session"])
    run = replace(run, status=run.status[:-1])  # without a word, as if it was killed
    assert verify(run, trials["model"]).proven
    for name, stream in (("journal", run.journal), ("spikes", run.spikes[0])):
        half = len(stream.stamps) // 2
        part = changed(stream, values=lambda v: v[:half], stamps=lambda t: t[:half])  # noqa: B023
        changes = {"journal": part} if name == "journal" else {"spikes": (part,)}
        result = verify(replace(run, **changes), trials["model"])
        assert not result.proven, name


def test_trials_are_known_again_when_a_marker_is_lacking_around_a_loss(trials):
    """Then the run has counted one more; lacking anywhere else it is a problem all the same."""
    if "session" not in trials:
        pytest.skip("there is no session")
    (run,) = load_runs(trials["session"])
    (markers,) = run.markers
    first = run.factors.stamps[0] - 0.5 * WIDTH
    starts = np.flatnonzero(markers.values[:, 0] == b"trial/start")
    k = int(starts[markers.stamps[starts] > first + 0.5 * WIDTH][0])  # the second trial's
    before = changed(markers, values=lambda v: v[:k], stamps=lambda t: t[:k])
    after = changed(markers, values=lambda v: v[k + 1 :], stamps=lambda t: t[k + 1 :])
    result = verify(replace(run, markers=(before, after)), trials["model"])
    assert result.proven, result.problems
    assert result.published == len(run.factors.stamps) // N_BINS
    assert 1 <= sum(result.unverified.values()) <= 2
    assert result.equal == result.published - sum(result.unverified.values())
    one = changed(
        markers, values=lambda v: np.delete(v, k, 0), stamps=lambda t: np.delete(t, k)
    )  # fmt: skip
    assert not verify(replace(run, markers=(one,)), trials["model"]).proven


def test_a_session_is_a_recording_too(trials, tmp_path):
    """Its input is what is read; what the run published is neither spikes nor markers."""
    if "session" not in trials:
        pytest.skip("there is no session")
    back = read(trials["session"])
    assert set(back.markers.labels) <= {"trial/start", "trial/end", "recording/start"}
    assert back.n_units == 12
    picture = tmp_path / "out.png"
    script = Path(__file__).resolve().parents[2] / "examples" / "analyse_session.py"
    subprocess.run([sys.executable, script, trials["session"], picture], check=True)
    assert picture.stat().st_size > 5_000


def test_the_notebook_runs_on_a_session(trials):
    if "session" not in trials:
        pytest.skip("there is no session")
    folder = Path(__file__).resolve().parents[2] / "examples"
    cells = json.loads((folder / "analyse_session.ipynb").read_text())["cells"]
    program = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    assert program.count("session.xdf") == 1
    program = program.replace("session.xdf", str(trials["session"]))
    done = subprocess.run(
        [sys.executable, "-"], input=program, env={**os.environ, "MPLBACKEND": "Agg"}, cwd=folder,
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for word in ("TrialFactors", "Journal", "closed to pushed"):
        assert word in done.stdout


def test_a_session_becomes_nwb(trials, tmp_path, command):
    """It passes the inspector, and is read back with the same spikes and markers."""
    nwbinspector = pytest.importorskip("nwbinspector")
    if "session" not in trials:
        pytest.skip("there is no session")
    out = tmp_path / "session.nwb"
    written = command(
        "export-nwb", trials["session"], out, "--subject", "S1", "--experimenter", "Doe, Jane",
        "--institution", "X", "--json",
    ).result()  # fmt: skip
    found = list(nwbinspector.inspect_nwbfile(nwbfile_path=out))
    assert [(m.check_function_name, m.message) for m in found] == []
    (run,) = load_runs(trials["session"])
    back = read(out)
    assert back.unit_labels == run.about.unit_labels
    assert back.n_spikes == written["spikes"] > 100
    source = RunInput(run)
    spikes, (times, labels) = source.all_spikes(), source.all_markers()
    shift = spikes.times[0] - back.spikes.times[0]
    np.testing.assert_allclose(back.spikes.times + shift, spikes.times, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(back.spikes.units, spikes.units)
    mine = [k for k, m in enumerate(back.markers.labels) if m.startswith("markers/")]
    assert [back.markers.labels[k] for k in mine] == [f"markers/{m}" for m in labels]
    np.testing.assert_allclose(back.markers.times[mine] + shift, times, rtol=0, atol=1e-9)
    factors = back.series["factors"]
    order = np.argsort(run.factors.stamps, kind="stable")
    np.testing.assert_array_equal(factors.values, run.factors.values[order, :-2])


class Source:
    """Spikes in a thread, and a marker ``go`` every 0.4 s, stamped by `clock`.

    One spike in ten comes 0.1 s late, and so after its bin was closed.
    """

    def __init__(self, name, clock=pylsl.local_clock):
        self._clock = clock
        self._outlet = SpikeSource(f"{name} S", UNITS)
        self._markers = MarkerSource(f"{name} M")
        self._done = threading.Event()
        self.n_late = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        rng = np.random.default_rng(3)
        late = deque()
        go = self._clock()
        while not self._done.wait(0.004):
            now = self._clock()
            if now >= go:
                go = now + 0.4
                self._markers.push(now, "go")
            times = now - 0.001 * rng.random(3)
            units = rng.integers(0, len(UNITS), 3).astype(np.int32)
            if rng.random() < 0.1:
                late.append((now + 0.1, times, units))
            else:
                self._outlet.push(times, units)
            while late and late[0][0] <= now:
                _, times, units = late.popleft()
                self._outlet.push(times, units)
                self.n_late += 3

    def close(self):
        self._done.set()
        self._thread.join()
        del self._outlet, self._markers


@pytest.mark.fault("source-killed")
def test_late_spikes_and_a_source_that_goes(unique, tmp_path, command, model_of):
    hop = 4  # bins close between windows, too
    model_of(UNITS, N_BINS, WIDTH).save(tmp_path / "model.safetensors")
    rig = write_rig(tmp_path, unique, f'mode = "sliding"\nhop = {hop}')
    session = tmp_path / "session.xdf"
    source = Source(unique)
    loop = command("run", rig, "--record", session, "--json")
    until = time.monotonic() + 60
    while not (session.exists() and session.stat().st_size > 60_000):
        assert time.monotonic() < until
        assert loop.process.poll() is None, loop.process.communicate()
        time.sleep(0.1)
    source.close()
    time.sleep(1.0)
    source = Source(unique)
    time.sleep(5.0)
    report = loop.interrupt()
    source.close()
    counters = report["status"]["counters"]
    assert counters["inlet"]["losses"] == 1
    found = command("verify", session, "--rig", rig, "--json").result()
    (run,) = found["runs"]
    assert run["problems"] == []
    # Around the loss the recorder may have less than the loop: what waits is dropped when a source
    # dies, and each finds it again in its own time. That is said, and nothing else may differ.
    unverified = sum(run["unverified"].values())
    assert run["equal"] + unverified == run["published"] == counters["windows"] > 100 / hop
    assert bool(unverified) <= bool(run["facts"]["samples_lacking"])
    old, new = (s.stamps for s in load_runs(session)[0].spikes)
    differ = [w["start"] for w in run["windows"] if w["reason"] == "published factors differ"]
    # Spikes may lie a tenth of a second before the newest ones.
    assert all(t < new.min() + 0.2 and t + N_BINS * WIDTH > old.max() - 0.2 for t in differ)
    assert run["not_published"] == {
        "truncated, and the rig drops those": counters["truncated_dropped"]
    }
    assert len(run["facts"]["gaps_s"]) == 1
    (late,) = [n for reason, n in run["incomplete"].items() if reason.startswith("late")]
    assert counters["spikes"]["late"] > 20
    # Each is missing from all windows that its bin is in.
    assert late["spikes"] > counters["spikes"]["late"]
    assert late["windows"] > 0


@pytest.mark.fault("disk-full")
def test_a_full_disk_stops_the_recording_and_not_the_loop(unique, tmp_path, command, model_of):
    model_of(UNITS, N_BINS, WIDTH).save(tmp_path / "model.safetensors")
    rig = write_rig(tmp_path, unique, 'mode = "sliding"')
    session = tmp_path / "session.xdf"
    os.symlink("/dev/full", session)
    source = Source(unique)
    loop = command("run", rig, "--record", session, "--overwrite", "--seconds", 6, "--json")
    report = loop.result()
    source.close()
    assert "No space left" in report["recording"]["problem"]
    assert "No space left" in report["status"]["recording"]["problem"]
    assert report["status"]["counters"]["windows"] > 50


@pytest.mark.fault("signals")
def test_a_run_that_was_killed_is_verified_up_to_there(unique, tmp_path, command, model_of):
    model_of(UNITS, N_BINS, WIDTH).save(tmp_path / "model.safetensors")
    rig = write_rig(tmp_path, unique, 'mode = "sliding"')
    session = tmp_path / "session.xdf"
    source = Source(unique)
    loop = command("run", rig, "--record", session)
    until = time.monotonic() + 60
    while not (session.exists() and session.stat().st_size > 100_000):
        assert time.monotonic() < until
        time.sleep(0.1)
    killed = pylsl.local_clock()
    loop.kill()
    time.sleep(2.0)
    source.close()
    (run,) = load_runs(session)
    assert not run.stopped
    assert killed - run.factors.stamps[-1] < 1.0
    result = verify(run, Model.load(tmp_path / "model.safetensors"))
    assert result.proven, result.problems
    assert result.published == result.equal > 50
    assert json.dumps(copy.deepcopy(result.as_dict()))


def test_clocks_that_differ_and_drift_are_put_right_in_the_same_way(
    unique, tmp_path, running, command, model_of, monkeypatch
):
    """A source on another machine, as LSL shows it: its stamps are of a clock of its own.

    What LSL measures of that clock is replaced in this process, where the loop runs; the recorder
    is another process, and knows nothing of it.
    """
    ahead, drift, began = 250.0, 2e-4, pylsl.local_clock()

    def by_which_it_is_ahead():
        return ahead + drift * (pylsl.local_clock() - began)

    # Each inlet has measured something else, as measurements do.
    noise = np.random.default_rng(1)
    monkeypatch.setattr(
        pylsl.StreamInlet,
        "time_correction",
        lambda inlet, timeout: -by_which_it_is_ahead() + 1e-5 * noise.standard_normal(),
    )
    model = model_of(UNITS, N_BINS, WIDTH)
    window = 'mode = "trials"\nstart = "go"'
    rig_file = write_rig(tmp_path, unique, window, "[binning]\nhold_off = 0.2")
    source = Source(unique, clock=lambda: pylsl.local_clock() + by_which_it_is_ahead())
    session = tmp_path / "session.xdf"
    recorder = RecorderProcess(rig_file, session)
    loop = running(load_rig(rig_file), model, recorder=recorder)
    loop.wait_for(lambda: len(loop.counts) >= 8)
    report = loop.finish()
    assert recorder.end() == ""
    source.close()
    (run,) = load_runs(session)
    result = verify(run, model)
    assert result.proven, result.problems
    assert result.published == result.equal >= 8
    counters = report.status["counters"]
    # Put on the wrong clock, all of them would be late or ahead.
    assert counters["spikes"]["late"] < 0.3 * counters["spikes"]["received"]
    low, high = result.facts["clock_correction_ms"]
    assert result.facts["clock_corrections"] >= 4  # of spikes and markers, asked for every second
    assert -250_100 < low < high < -249_999
    assert sum(counts.sum() for _, _, counts in loop.counts) > 100
    # The journal's word is what it is proven with.
    wrong = run.journal.values.copy()
    wrong[wrong[:, 0] == Event.CLOCK, 5] += 0.003
    assert not verify(replace(run, journal=replace(run.journal, values=wrong)), model).proven
    # An NWB file has all on the loop's clock, whatever the source's says.
    pynwb = pytest.importorskip("pynwb")
    ended = datetime.now(timezone.utc)
    export_nwb(session, run, tmp_path / "session.nwb")
    with pynwb.NWBHDF5IO(str(tmp_path / "session.nwb"), "r") as io:
        file = io.read()
        lasted = (ended - file.session_start_time).total_seconds()
        spikes = np.concatenate([file.units["spike_times"][k] for k in range(len(UNITS))])
        spans = file.units["obs_intervals"][0]
        trials = file.trials["start_time"][:]
    assert 0 <= spikes.min() < spikes.max() < lasted < 120
    assert 0 <= trials.min() < trials.max() < lasted
    np.testing.assert_allclose([spans.min(), spans.max()], [spikes.min(), spikes.max()], atol=1e-9)
