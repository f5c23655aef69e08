"""Sources that go in the middle of a run and come back."""

import os
import signal

import numpy as np
import pytest
from e2e.conftest import rig_of

from bci_lfads.offline import cut
from bci_lfads.recordings import Recording, write
from bci_lfads.recordings.simulate import simulate_lorenz

pytestmark = pytest.mark.lsl
N_BINS, WIDTH = 30, 0.01
TRIALS = {"mode": "trials", "start": "trial/start"}


@pytest.fixture(scope="module")
def recording() -> Recording:
    return simulate_lorenz(6, n_units=12, rate=20.0, trial_length=0.5, gap=(0.1, 0.2), seed=5)


@pytest.mark.fault("source-killed")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["killed", "stopped"])
def test_a_source_that_comes_back_is_read_on(
    how, recording, unique, tmp_path, command, running, model_of
):
    file = tmp_path / "recording.npz"
    write(recording, file)
    model = model_of(recording.unit_labels, N_BINS, WIDTH)
    loop = running(rig_of(unique, TRIALS), model)
    played = ("replay", file, "--spikes", f"{unique} S", "--markers", f"{unique} M", "--json")
    first = command(*played, "--wait", 30)
    loop.wait_for(lambda: len(loop.counts) >= 2)
    first.process.send_signal(how)
    first.process.wait(20.0)
    again = command(*played, "--wait", 30).result()
    report = loop.finish()
    offline = cut(recording, model, loop.pipeline.rig.window)
    counters = report.status["counters"]
    assert counters["inlet"]["losses"] in (1, 2)  # the end of the second replay may be seen too
    assert report.status["state"] == "stopped"
    # Whole trials of the first time, then all of the second; none with a hole in it.
    before = [w for w in loop.counts if w[1] < again["first_stamp"]]
    after = [w for w in loop.counts if w[1] >= again["first_stamp"]]
    assert 2 <= len(before) <= len(offline.counts)
    for (_, _, counts), expected in zip(before, offline.counts, strict=False):
        np.testing.assert_array_equal(counts, expected)
    assert [w[0] - after[0][0] for w in after] == list(range(len(offline.counts)))
    np.testing.assert_array_equal([w[2] for w in after], offline.counts)


@pytest.mark.fault("source-changed")
def test_a_source_that_comes_back_with_other_units_is_refused_and_the_loop_goes_on(
    recording, unique, tmp_path, command, running, model_of
):
    file, fewer = tmp_path / "recording.npz", tmp_path / "fewer.npz"
    write(recording, file)
    write(recording.select(recording.unit_labels[:-2]), fewer)
    loop = running(rig_of(unique, TRIALS), model_of(recording.unit_labels, N_BINS, WIDTH))
    names = ("--spikes", f"{unique} S", "--markers", f"{unique} M", "--json")
    first = command("replay", file, *names, "--wait", 30)
    loop.wait_for(lambda: len(loop.counts) >= 2)
    first.kill()
    other = command("replay", fewer, *names, "--loop")
    states = []

    def refused() -> bool:
        states.append(loop.pipeline.oversight.condition())
        return states[-1].cause == "source_refused"

    loop.wait_for(refused)
    assert recording.unit_labels[-1] in states[-1].reason
    other.kill()
    again = command("replay", file, *names, "--wait", 30).result()
    loop.finish()
    after = [w for w in loop.counts if w[1] >= again["first_stamp"]]
    assert len(after) == 6


@pytest.mark.fault("signals")
def test_three_commands_and_an_interrupt(recording, unique, tmp_path, command, model_of):
    """`run`, `listen` and `replay` as three people would start them; Ctrl-C ends the run well."""
    file, rig = tmp_path / "recording.npz", tmp_path / "rig.toml"
    write(recording, file)
    model_of(recording.unit_labels, N_BINS, WIDTH).save(tmp_path / "model.safetensors")
    rig.write_text(
        f"""
        name = "{unique}"
        model = "model.safetensors"
        [input.spikes]
        name = "{unique} S"
        [input.markers]
        name = "{unique} M"
        [window]
        mode = "trials"
        start = "trial/start"
        """
    )
    loop = command("run", rig, "--json")
    listener = command("listen", unique, "-o", tmp_path / "heard.npz", "--json", "--timeout", 30)
    played = command(
        "replay", file, "--spikes", f"{unique} S", "--markers", f"{unique} M", "--wait", 30,
        "--json",
    ).result()  # fmt: skip
    report = loop.interrupt()
    assert report["status"]["state"] == "stopped"
    assert report["status"]["counters"]["windows"] == 6
    assert report["status"]["counters"]["spikes"]["received"] == played["spikes"]
    assert report["engine_ms"]["n"] == 6
    heard = listener.result()
    assert (heard["samples"], heard["windows"]) == (6 * N_BINS, 6)
    assert heard["last_status"]["state"] == "stopped"
    assert os.path.getsize(tmp_path / "heard.npz") > 0
