"""The bundled model and decoders in the loop: on a virtual clock, and over LSL in real time."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bci_lfads.closed_loop.feedback import DecodedFeedback, PerfectFeedback, check_cursor
from bci_lfads.closed_loop.offline import calibrate, close_loop
from bci_lfads.closed_loop.rig import LOOP_STEP, VirtualRig
from bci_lfads.closed_loop.scores import score
from bci_lfads.closed_loop.subject import Perturbation
from bci_lfads.decoding.file import Decoder
from bci_lfads.decoding.rows import rows_of
from bci_lfads.decoding.scoring import decode
from bci_lfads.decoding.scoring import score as score_decoder
from bci_lfads.demo import bundled
from bci_lfads.errors import DecoderError
from bci_lfads.models.model import Model
from bci_lfads.recordings import read
from bci_lfads.recordings.nwb_export import Subject, export_nwb
from bci_lfads.recordings.xdf_guard import inspect_xdf
from bci_lfads.rig import load_rig
from bci_lfads.verification import load_runs, verify


@pytest.fixture(scope="module")
def rig():
    return load_rig(bundled("closed_loop.toml"))


@pytest.fixture(scope="module")
def model(rig):
    return Model.load(rig.model)


@pytest.fixture(scope="module", params=["decoder", "counts"])
def decoder(request):
    return Decoder.load(bundled(f"closed_loop_{request.param}.safetensors"))


def reached(feedback, seconds=60.0, **perturbed):
    rig = VirtualRig(perturbation=Perturbation(**perturbed), seed=21)
    return score(close_loop(rig, feedback, seconds, path_delay=0.0075).reaches)


def test_what_is_bundled_fits_together(decoder, model):
    check_cursor(decoder)
    decoder.check_model(model.hash)
    assert model.unit_labels == VirtualRig().unit_labels


def test_decoders_score_on_a_recording_that_nothing_was_fitted_to(rig, model, decoder):
    found = score_decoder(decoder, calibrate(30.0, seed=77), rig, model)
    assert found["r2_mean"] > (0.65 if decoder.facts.input == "factors" else 0.55)


def test_the_virtual_loop_decodes_what_the_offline_path_decodes(rig, model, decoder):
    """Step by step, with the engine's live form, or the whole recording at once."""

    class Kept(DecodedFeedback):
        def decode(self, step, rig):
            velocity = super().decode(step, rig)
            kept.append(velocity.copy())
            steps.append(step)
            return velocity

    kept, steps = [], []
    virtual = close_loop(VirtualRig(seed=5), Kept(decoder, model), 5.0)
    recording = calibrate(5.0)  # for its form alone
    recording = replace(
        recording, series={}, markers=replace(recording.markers, times=np.empty(0), labels=()),
        spikes=replace(
            recording.spikes, times=np.concatenate([s.times for s in steps]),
            units=np.concatenate([s.units for s in steps]),
        ),
    )  # fmt: skip
    rows = rows_of(recording, rig, model, decoder.facts.input)
    found = decode(decoder, rows)
    n = len(found)
    assert n == 500 - model.spec.n_bins + 1
    np.testing.assert_array_equal(np.array(kept)[-n:], found)
    assert np.isnan(np.array(kept)[:-n]).all()
    assert virtual.cursor.any() or virtual.task.target is None


def test_targets_are_reached_nearly_as_with_perfect_feedback(model, decoder):
    perfect, decoded = reached(PerfectFeedback()), reached(DecodedFeedback(decoder, model))
    assert perfect.success == 1.0
    assert decoded.success > 0.9
    assert perfect.time < decoded.time < 1.5 * perfect.time
    assert 0.85 < decoded.efficiency < perfect.efficiency


@pytest.mark.parametrize("perturbed", [{"delay": 0.4}, {"rotation": 90.0}, {"lost": 0.5}])
def test_what_is_done_to_the_loop_costs_success(model, decoder, perturbed):
    assert reached(DecodedFeedback(decoder, model), 40.0, **perturbed).success < 0.6


def test_a_decoder_that_cannot_move_the_cursor_is_refused(model, decoder):
    facts = decoder.facts
    for changes, message in (
        ({"channels": ("x", "y")}, "moved by channels vx and vy"),
        ({"hop": 2}, "moves every 10 ms; the decoder is for a sliding window with a hop of 2"),
        ({"model_hash": "0" * 64}, "was fitted to factors of model"),
    ):  # fmt: skip
        other = replace(decoder, facts=facts.model_copy(update=changes))
        with pytest.raises(DecoderError, match=message):
            DecodedFeedback(other, model)


def bci_lfads(*arguments, check=True):
    done = subprocess.run(
        [sys.executable, "-m", "bci_lfads", "-q", "closed-loop", *map(str, arguments)],
        capture_output=True, text=True, cwd="/", timeout=200,
    )  # fmt: skip
    if not check:
        return done
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_calibration_and_curve_from_the_command_line(tmp_path):
    found = bci_lfads("calibrate", "-o", tmp_path / "c.npz", "--seconds", 5, "--json")
    assert found["n_units"] == 48
    found = bci_lfads(
        "curve", "--delays", "10,400", "--seconds", 20, "--picture", tmp_path / "c.png", "--json"
    )
    assert list(found["curves"]) == ["factors", "smoothed counts", "perfect feedback"]
    for scores in found["curves"].values():
        assert scores[0]["success"] > scores[1]["success"]
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.lsl
def test_over_lsl_in_real_time_with_a_run_and_a_decoder_of_their_own(tmp_path, unique):
    """The production commands; a busy machine may cost some reaches, but not most."""
    text = bundled("closed_loop.toml").read_text()
    text = text.replace('"ClosedLoop"', f'"{unique}"').replace("ClosedLoopSpikes", f"{unique} S")
    text = text.replace("ClosedLoop Markers", f"{unique} M")
    text = text.replace(
        "closed_loop_model.safetensors", str(bundled("closed_loop_model.safetensors"))
    )
    (tmp_path / "rig.toml").write_text(text)
    found = bci_lfads(
        "run", "--seconds", 12, "--rig", tmp_path / "rig.toml", "--picture", tmp_path / "p.png",
        "--record", tmp_path / "session.xdf", "--json",
    )  # fmt: skip
    over_lsl = found["scores"]["factors, over LSL"]
    assert over_lsl["reaches"] >= 4
    assert over_lsl["success"] >= 0.5
    assert found["rows_of_behaviour"] > 0.9 * 12 / LOOP_STEP
    assert found["decoder"]["counters"]["invalid"] == 0
    assert found["decoder"]["last_spike_to_behaviour_pushed_ms"]["n"] > 900
    assert found["loop_delay_ms"]["median"] > 5.0, "the hold-off alone is that long"
    assert (tmp_path / "p.png").stat().st_size > 10_000
    assert found["recorded"] == str(tmp_path / "session.xdf")
    (session,) = load_runs(tmp_path / "session.xdf")
    proof = verify(session, Model.load(bundled("closed_loop_model.safetensors")))
    assert proof.proven, proof.problems
    assert proof.equal == proof.published == found["run"]["status"]["counters"]["windows"]
    recorded = {s.name: s for s in inspect_xdf(tmp_path / "session.xdf").streams.values()}
    for word in ("DecodedBehaviour", "DecodedLatency", "Cursor"):
        assert recorded[f"{unique} {word}"].n_samples > 900, word
    assert recorded[f"{unique} M"].n_samples >= over_lsl["reaches"]
    # A stranger's analysis, and an archive's file, have the same.
    script = Path(__file__).resolve().parents[2] / "examples" / "analyse_session.py"
    subprocess.run(
        [sys.executable, script, tmp_path / "session.xdf", tmp_path / "a.png"], check=True
    )
    assert (tmp_path / "a.png").stat().st_size > 5_000
    nwbinspector = pytest.importorskip("nwbinspector")
    written = export_nwb(
        tmp_path / "session.xdf", session, tmp_path / "session.nwb",
        subject=Subject("S1"), experimenter="Doe, Jane", institution="X",
    )  # fmt: skip
    assert written["decoded"] > 900
    assert [
        m.message for m in nwbinspector.inspect_nwbfile(nwbfile_path=tmp_path / "session.nwb")
    ] == []
    back = read(tmp_path / "session.nwb").series["decoded_behaviour"]
    sent = session.decoded[0]
    assert back.values.shape[1] == 2
    assert set(map(tuple, back.values)) <= set(map(tuple, sent.values))


def test_a_loop_without_lsl_has_no_session_to_record(tmp_path):
    done = bci_lfads("run", "--virtual", "--record", tmp_path / "s.xdf", check=False)
    assert done.returncode == 1
    assert "--virtual does without LSL" in done.stderr
