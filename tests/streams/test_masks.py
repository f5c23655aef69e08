"""Units that are dead, masked, or fire otherwise than they did."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from models.float_models import random_float_model, small_spec
from stream_headers import counts, events, ids

from bci_lfads.about import RATES
from bci_lfads.drift import RateMeter, compare
from bci_lfads.engines import open_engine
from bci_lfads.errors import RigError, StreamError
from bci_lfads.models.masking import mask_units
from bci_lfads.models.reference import infer_float
from bci_lfads.parts import as_masked
from bci_lfads.rig import masked_units, parse_rig
from bci_lfads.streams.decoders import DecoderCounters, make_decoder

MODEL = random_float_model(small_spec())
RATE = 30.0


def rig(*mask):
    content = {
        "name": "R", "model": "m", "window": {"mode": "sliding"},
        "input": {"spikes": {"name": "S"}, "mask": mask},
    }  # fmt: skip
    return parse_rig(content, Path("rig.toml"))


def test_a_masked_unit_is_taken_for_firing_at_its_mean_whatever_it_does():
    rng = np.random.default_rng(0)
    spec, dead = MODEL.spec, [1, 4]
    labels = tuple(MODEL.unit_labels[k] for k in dead)
    masked = mask_units(MODEL, labels, [RATE] * spec.n_units)
    assert masked.hash != MODEL.hash
    assert mask_units(MODEL, (), None) is MODEL
    seen = rng.integers(0, 4, (3, spec.n_bins, spec.n_units)).astype(np.uint8)
    other = seen.copy()
    other[..., dead] = rng.integers(0, 200, other[..., dead].shape)
    with open_engine("native", masked) as engine:
        found = engine.infer_batch(seen).factors.copy()
        np.testing.assert_array_equal(engine.infer_batch(other).factors, found)
    # The mean is no whole number: compare with what the float model makes of it.
    mean = RATE * MODEL.bin_width
    weights = {k: np.array(v) for k, v in MODEL.weights.items()}
    silent = seen.copy()
    silent[..., dead] = 0
    for side in ("forward", "backward"):
        name = f"encoder.{side}.input_"
        weights[name + "bias"] = weights[name + "bias"] + mean * weights[name + "weight"][
            :, dead
        ].sum(axis=1)
    expected = infer_float(spec, weights, silent).factors
    zeros = infer_float(spec, MODEL.weights, silent).factors
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert np.abs(found - zeros).max() > 0.01


def test_patterns_mask_units_and_wrong_ones_are_named():
    units = ("u1", "u2", "v1")
    assert masked_units(rig("u*"), units) == ("u1", "u2")
    assert masked_units(rig(), units) == ()
    with pytest.raises(RigError, match=r"'w\*', which fits no unit"):
        masked_units(rig("w*"), units)
    with pytest.raises(RigError, match="all 3 units"):
        masked_units(rig("*"), units)


def test_without_known_rates_masked_units_are_silent(caplog):
    label = MODEL.unit_labels[0]
    with caplog.at_level("WARNING"):
        assert as_masked(rig(label), MODEL).hash == mask_units(MODEL, (label,), None).hash
    assert label in caplog.text
    text = ",".join(["5"] * len(MODEL.unit_labels))
    known = replace(MODEL, provenance={RATES: text})
    assert as_masked(rig(label), known).hash != mask_units(MODEL, (label,), None).hash


@pytest.mark.parametrize("header", [
    events((("c", 7, 1), ("a", 7, 0))), ids((("c", 5), ("a", 3))), counts(("c", "a")),
])  # fmt: skip
def test_the_stream_need_not_have_masked_units(header):
    made = {"bin_width": 0.02, "counters": DecoderCounters()}
    with pytest.raises(StreamError, match="missing: b"):
        make_decoder(header, ("a", "b", "c"), {}, **made)
    with pytest.raises(StreamError, match="missing: b"):
        make_decoder(header, ("a", "b", "c"), {}, optional=("a",), **made)
    decoder, _ = make_decoder(header, ("a", "b", "c"), {}, optional=("b",), **made)
    rows = {"int32": [[7, 0], [7, 1], [9, 9]]}
    samples = np.array(rows["int32"], decoder.dtype)
    if header.n_channels == 1:
        samples = np.array([[3], [5], [8]], decoder.dtype)
    if header.rate:
        samples = np.array([[0, 1], [1, 0]], decoder.dtype)
    found = decoder.decode(samples, np.arange(len(samples), dtype=float)).units.tolist()
    assert found == [0, 2, -1][: len(samples)]


def test_the_meter_follows_the_newest_minute():
    meter = RateMeter(2, 0.01)
    assert meter.seconds == 0
    assert meter.rates().tolist() == [0, 0]
    busy = np.tile(np.array([1, 0], np.uint8), (100, 1))
    for _ in range(40):
        meter.add(busy)
    assert meter.rates() == pytest.approx([100, 0])
    for _ in range(60):
        meter.add(busy[:, ::-1])
    assert 30 <= meter.seconds <= 60
    assert meter.rates() == pytest.approx([0, 100], abs=40)
    drift = compare(meter.rates(), meter.seconds, np.array([100.0, 100.0]), "training")
    assert drift.changed == (0,)
    assert drift.alarm
