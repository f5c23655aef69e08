"""Fitting and scoring decoders on recordings, and the file that keeps them."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from decoding.conftest import N_BINS, WIDTH, plain_decoder, rig_for
from safetensors.numpy import save_file

from bci_lfads.decoding.classifier import Held, _near, classes_at, told_right
from bci_lfads.decoding.file import Decoder
from bci_lfads.decoding.fitting import Asked, fit
from bci_lfads.decoding.rows import behaviour_at, features_of, rows_of
from bci_lfads.decoding.scoring import decode, score
from bci_lfads.errors import DecoderError
from bci_lfads.models.masking import mask_units
from bci_lfads.models.scores import r2
from bci_lfads.offline import cut
from bci_lfads.parts import as_masked
from bci_lfads.recordings import Markers, Series

VELOCITY = {"behaviour": "velocity"}


def test_rows_are_the_newest_bins_of_each_window(reaches, model):
    rig = rig_for("r", "sliding")
    rows = rows_of(reaches, rig, model, "counts")
    batch = cut(reaches, model, rig.window)
    np.testing.assert_array_equal(
        rows.values, batch.counts[:, -2:].reshape(-1, model.spec.n_units).astype(np.float32)
    )
    centres = (np.arange(N_BINS - 2, N_BINS) + 0.5) * WIDTH
    np.testing.assert_array_equal(rows.stamps, (batch.starts[:, None] + centres).ravel())
    assert rows.begins.sum() == 1
    assert np.allclose(np.diff(rows.stamps), WIDTH)


def test_rows_of_trials_are_all_their_bins(reaches, model):
    rows = rows_of(reaches, rig_for("r", "trials"), model)
    assert rows.values.shape == (40 * N_BINS, 6)
    assert [s.stop - s.start for s in rows.stretches()] == [N_BINS] * 40


@pytest.mark.parametrize(
    "asked",
    [
        Asked("ridge", "counts", **VELOCITY, history=0.06, smoothing=0.04, lag=0.02),
        Asked("kalman", "counts", **VELOCITY),
        Asked("ridge", **VELOCITY, channels=("vy",)),
    ],
    ids=lambda a: f"{a.method} {a.input}",
)
@pytest.mark.parametrize("mode", ["sliding", "trials"])
def test_what_is_fitted_scores_on_its_recording_as_it_runs(reaches, model, mode, asked):
    rig = rig_for("r", mode)
    report = fit(reaches, rig, model, asked)
    decoder = report.decoder
    assert decoder.facts.channels == (asked.channels or ("vx", "vy"))
    rows = rows_of(reaches, rig, model, asked.input)
    true, _ = behaviour_at(
        reaches, "velocity", decoder.facts.channels, rows.stamps + decoder.facts.lag
    )
    whole = np.isfinite(true).all(axis=1)
    found = decode(decoder, rows)
    again = score(decoder, reaches, rig, model)
    assert again["r2_mean"] == pytest.approx(r2(true[whole], found[whole]).mean)
    if asked.input == "counts":  # a random model's factors know little of velocity
        assert again["r2_mean"] > 0.4
        # Not seen is a little worse than seen.
        assert 0.3 < report.scores["r2_mean"] < again["r2_mean"] + 0.05
    if asked.method == "ridge":
        x = features_of(rows, decoder.facts)
        expected = x @ decoder.tensors["weights"].T + decoder.tensors["offset"]
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_a_decoder_may_remember_longer_than_the_shortest_block(reaches, model):
    """Then blocks are longer, so that something is left of each."""
    asked = Asked("ridge", "counts", **VELOCITY, smoothing=0.7)
    report = fit(reaches, rig_for("r", "sliding"), model, asked)
    assert report.n_parts >= 5
    with pytest.raises(DecoderError, match=r"longer if the decoder's memory is\), have behaviour"):
        fit(reaches, rig_for("r", "sliding"), model, replace(asked, smoothing=9.0))


def test_noise_is_not_decoded(reaches, model):
    times = reaches.series["velocity"].times
    noise = np.random.default_rng(0).normal(size=(len(times), 1)).astype(np.float32)
    noisy = replace(reaches, series={"noise": Series(times, noise, ("n",))})
    report = fit(noisy, rig_for("r", "sliding"), model, Asked(input="counts", behaviour="noise"))
    assert abs(report.scores["r2_mean"]) < 0.05


def test_a_classifier_tells_directions(reaches, model):
    pytest.importorskip("sklearn")
    asked = Asked("direction", "counts", "go/*", smoothing=0.1, interval=(0.25, 0.55))
    rig = rig_for("r", "sliding")
    report = fit(reaches, rig, model, asked)
    assert report.decoder.facts.channels == ("go/0", "go/180", "go/270", "go/90")
    assert report.scores["trials"] > 0.8
    assert 0.2 < report.scores["chance"] < 0.35
    assert report.n_parts == 40
    found = score(report.decoder, reaches, rig, model, (0.25, 0.55))
    assert found["trials"] >= report.scores["trials"] - 0.05
    shuffled = np.random.default_rng(1).permutation(len(reaches.markers.labels))
    labels = list(reaches.markers.labels)
    go = [k for k in range(len(labels)) if labels[k].startswith("go/")]
    order = [k for k in shuffled if k in set(go)]
    mixed = labels.copy()
    for k, j in zip(go, order, strict=True):
        mixed[k] = labels[j]
    other = replace(reaches, markers=Markers(reaches.markers.times, tuple(mixed)))
    assert fit(other, rig, model, asked).scores["trials"] < 0.5


def test_two_classes_too(reaches, model):
    pytest.importorskip("sklearn")
    labels = tuple(
        m.replace("go/180", "go/0").replace("go/270", "go/90") for m in reaches.markers.labels
    )
    two = replace(reaches, markers=Markers(reaches.markers.times, labels))
    report = fit(two, rig_for("r", "trials"), model, Asked("direction", "counts", "go/*"))
    assert report.decoder.facts.channels == ("go/0", "go/90")
    rows = rows_of(two, rig_for("r", "trials"), model, "counts")
    np.testing.assert_allclose(decode(report.decoder, rows).sum(axis=1), 1.0)


def test_shares_are_counted_by_row_and_by_marker():
    held = Held(np.array([0, 0, 1, 1, -1]), np.array([0, 0, 1, 1, -1]), ("a", "b"))
    p = np.array([[0.9, 0.1], [0.4, 0.6], [0.8, 0.2], [0.7, 0.3], [0.5, 0.5]])
    found = told_right(p, held)
    assert found == {"bins": 0.25, "trials": 0.5, "chance": 0.5}


def test_rows_that_share_spikes_are_near():
    held = np.array([0, 0, 0, 1, 1, 0, 0, 0], bool)
    np.testing.assert_array_equal(_near(held, 3), np.array([0, 1, 1, 1, 1, 1, 1, 0], bool))
    np.testing.assert_array_equal(_near(held, 0), held)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (Asked(behaviour="force"), "has no series 'force'; it has latents, rates, behaviour"),
        (Asked(behaviour="velocity", channels=("vz",)), "no channel vz; it has vx, vy"),
        (Asked("direction", behaviour="no/*"), "0 kinds of markers fit 'no/\\*'"),
        (Asked("direction", behaviour="go/*", interval=(1, 0)), "holds nothing"),
    ],
)
def test_what_is_not_there_is_said(reaches, model, asked, message):
    with pytest.raises(DecoderError, match=message):
        fit(reaches, rig_for("r", "sliding"), model, asked)


def test_impossible_settings_are_said():
    for settings, message in (
        ({"history": -1.0}, "history is -1"), ({"lag": np.nan}, "the lag is nan"),
        ({"method": "kalman", "history": 0.1}, "carries its own past"),
    ):  # fmt: skip
        with pytest.raises(DecoderError, match=message):
            Asked(**settings)


def test_too_little_is_said(reaches, model):
    short = replace(reaches, series={"velocity": Series(
        reaches.series["velocity"].times[:100], reaches.series["velocity"].values[:100],
        ("vx", "vy"))})  # fmt: skip
    with pytest.raises(DecoderError, match="0 trials, or stretches of 8 windows"):
        fit(short, rig_for("r", "sliding"), model, Asked(behaviour="velocity"))


def test_behaviour_that_is_not_near_is_none(reaches):
    values, _ = behaviour_at(reaches, "velocity", None, np.array([-1.0, 1.0, 1e6]))
    np.testing.assert_array_equal(np.isfinite(values).all(axis=1), [False, True, False])


def test_a_class_holds_from_and_until(reaches):
    at = reaches.markers.times[reaches.markers.labels.index("go/0")]
    held = classes_at(reaches, "go/*", (0.1, 0.2), np.array([at, at + 0.1, at + 0.19, at + 0.2]))
    np.testing.assert_array_equal(held.classes, [-1, 0, 0, -1])


# The file


def test_a_decoder_is_kept_as_it_is(model, tmp_path):
    decoder = plain_decoder(model, history=2)
    decoder.save(tmp_path / "d")
    again = Decoder.load(tmp_path / "d")
    assert (again.facts, again.hash) == (decoder.facts, decoder.hash)
    assert again.facts.lags_ms == [0.0, 20.0, 40.0]
    rows = np.random.default_rng(0).normal(size=(9, model.spec.n_factors)).astype(np.float32)
    one, two = decoder.start(), again.start()
    for row in rows:
        np.testing.assert_array_equal(one(row), two(row))


def test_files_that_are_none_are_refused(model, tmp_path):
    path = tmp_path / "d"
    with pytest.raises(DecoderError, match="no decoder file"):
        Decoder.load(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(DecoderError, match="not a readable safetensors file"):
        Decoder.load(path)
    model.save(path)
    with pytest.raises(DecoderError, match="is not a decoder"):
        Decoder.load(path)
    decoder = plain_decoder(model)
    document = {"facts": decoder.facts.model_dump(mode="json"), "provenance": {}}

    def written(tensors, **metadata):
        save_file(dict(tensors), path, {
            "format": "bci-lfads decoder", "format_version": "1", "hash": decoder.hash,
            "decoder": json.dumps(document), **metadata,
        })  # fmt: skip

    for tensors, metadata, message in (
        (decoder.tensors, {"format_version": "9"}, "has format version '9'"),
        (decoder.tensors, {"decoder": "{}"}, "its description is wrong"),
        (decoder.tensors, {"hash": "0"}, "was changed or damaged"),
        ({"weights": decoder.tensors["weights"]}, {}, "has tensors"),
        ({**decoder.tensors, "offset": np.array([np.nan, 0])}, {}, "not all finite"),
        ({k: v.astype(np.float32) for k, v in decoder.tensors.items()}, {}, "float32"),
    ):
        written(tensors, **metadata)
        with pytest.raises(DecoderError, match=message):
            Decoder.load(path)


def test_every_number_and_fact_is_in_the_hash(model):
    one = plain_decoder(model)
    other = replace(one, tensors={**one.tensors, "offset": np.array([0.0, 1e-300])})
    third = plain_decoder(model, lag=0.1)
    assert len({one.hash, other.hash, third.hash}) == 3
    assert replace(one, provenance={"a": "b"}).hash == one.hash


def test_a_decoder_of_another_model_or_window_is_refused(reaches, model):
    decoder = plain_decoder(model)
    with pytest.raises(DecoderError, match="fitted to factors of model"):
        decoder.check_model("0" * 64)
    with pytest.raises(DecoderError, match="a sliding window with a hop of 1; the rig's is"):
        score(decoder, reaches, rig_for("r", "sliding"), model)


def test_a_decoder_is_carried_to_a_model_that_was_made_of_its_own_alone(reaches, model, tmp_path):
    decoder = plain_decoder(model)
    masked = mask_units(model, model.unit_labels[:2], None)
    carried = decoder.carried_to(masked)
    carried.check_model(masked.hash)
    assert carried.tensors is decoder.tensors
    assert carried.provenance["carried_from"] == decoder.hash
    realigned = replace(model, bin_width=0.03, provenance={"realigned_from": model.hash})
    with pytest.raises(DecoderError, match="bins of 30 ms"):
        decoder.carried_to(realigned)
    with pytest.raises(DecoderError, match="was not made of model"):
        carried.carried_to(model)


def test_units_that_the_rig_masks_are_masked_in_the_fit(reaches, model):
    masked = rig_for("r", "sliding", mask=["unit_0*"])
    assert masked.input.mask
    plain, other = (
        fit(reaches, rig, model, Asked(**VELOCITY)).decoder
        for rig in (rig_for("r", "sliding"), masked)
    )
    assert plain.facts.model_hash == model.hash
    assert other.facts.model_hash == as_masked(masked, model).hash != model.hash
    score(other, reaches, masked, model)
    with pytest.raises(DecoderError, match="fitted to factors of model"):
        score(plain, reaches, masked, model)


# The command line


def bci_lfads(*arguments, ok=True):
    done = subprocess.run(
        [sys.executable, "-m", "bci_lfads", *map(str, arguments)],
        capture_output=True, text=True, cwd="/",
    )  # fmt: skip
    assert (done.returncode == 0) == ok, done.stderr
    return done.stdout if ok else done.stderr


def test_fit_and_score_from_the_command_line(files):
    rig, recording, out = files / "sliding.toml", files / "r.npz", files / "d.safetensors"
    found = json.loads(bci_lfads(
        "decode", "fit", rig, recording, "-o", out, "--from", "counts", "--behaviour", "velocity",
        "--history", 0.04, "--lag", 0.02, "--json",
    ))  # fmt: skip
    assert found["lags_ms"] == [0, 20, 40]
    assert found["behaviour_follows_by_ms"] == 20
    assert found["cross_validated"]["r2_mean"] > 0.3
    scored = json.loads(bci_lfads("decode", "score", out, rig, recording, "--json"))
    assert scored["r2"].keys() == {"vx", "vy"}
    (files / "masked.toml").write_text(
        rig.read_text().replace('name = "S"', 'name = "S"\n[input]\nmask = ["unit_01"]\n')
    )
    carried = files / "c.safetensors"
    found = json.loads(
        bci_lfads("decode", "carry", out, files / "masked.toml", "-o", carried, "--json")
    )
    assert found["model"] != Decoder.load(out).facts.model_hash
    bci_lfads("decode", "score", carried, files / "masked.toml", recording)
    error = bci_lfads("decode", "run", out, "rig", ok=False)
    assert "takes spike counts, which a run does not publish" in error
    error = bci_lfads("decode", "fit", rig, recording, "-o", out, "--method", "magic", ok=False)
    assert "no method 'magic'; there are ridge, kalman, direction" in error
