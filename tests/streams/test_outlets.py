"""The published streams, read back by pylsl."""

import json
import math
import warnings

import numpy as np
import pylsl
import pytest
from pylsl.util import LostError
from served import until

from bci_lfads.headers import parse_header
from bci_lfads.journal import CHANNELS as JOURNAL_CHANNELS
from bci_lfads.streams.outlets import LATENCY_CHANNELS, Outlets, OutletSettings

N_BINS, N_FACTORS, UNITS = 7, 3, ("u1", "ch2/0", "Ünit <3>", "u4")


def settings(rig, **changes):
    given = {
        "unit_labels": UNITS, "n_factors": N_FACTORS, "bin_width": 0.005, "n_bins": N_BINS,
        "hop": None, "model_hash": "c0ffee", "engine": "native", "number_format": "int16",
        "input_source": "name 'Spikes' and type 'SpikeEvents'",
    }  # fmt: skip
    return OutletSettings(rig=rig, **(given | changes))


def found(rig, n, *, no_more=False):
    """Return the streams of a rig by the last part of their names."""
    predicate = f"starts-with(source_id, 'bci-lfads:{rig}:')"
    infos = pylsl.resolve_bypred(predicate, n, 10.0)
    if no_more and len(infos) == n:
        infos = pylsl.resolve_bypred(predicate, n + 1, 1.0)
    return {info.name().removeprefix(f"{rig} "): info for info in infos}


class Consumer:
    """Listens to all streams of a rig from now on."""

    def __init__(self, rig, n_streams):
        self._inlets = {
            name: pylsl.StreamInlet(info, recover=False)
            for name, info in found(rig, n_streams).items()
        }
        for inlet in self._inlets.values():
            inlet.open_stream(10.0)

    def lost(self, stream):
        """Return whether the stream is gone."""
        try:
            self._inlets[stream].pull_sample(0.0)
        except LostError:
            return True
        return False

    def take(self, stream, n):
        """Return exactly `n` samples and their stamps."""
        samples, stamps = [], []

        def enough():
            some, when = self._inlets[stream].pull_chunk(0.1, n - len(stamps))
            samples.extend(some)
            stamps.extend(when)
            return len(stamps) == n

        until(enough)
        return np.array(samples), np.array(stamps)


def bits(values):
    """Return floats as integers, so that NaN and signed zeros count as well."""
    values = np.ascontiguousarray(values)
    return values.view({4: np.uint32, 8: np.uint64}[values.itemsize])


def same_bits(one, other):
    np.testing.assert_array_equal(bits(one), bits(other))


def window(seed, n_bins=N_BINS):
    """Return factors, log-rates and stamps of no pattern."""
    rng = np.random.default_rng(seed)
    factors = rng.standard_normal((n_bins, N_FACTORS), np.float32)
    log_rates = 2 * rng.standard_normal((n_bins, len(UNITS)), np.float32)
    stamps = 1e5 * (1 + rng.random()) + 0.005 * (np.arange(n_bins) + 0.5)
    return factors, log_rates, stamps


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"n_factors": 0}, "n_factors is 0"),
        ({"n_bins": 0}, "n_bins is 0"),
        ({"unit_labels": ()}, "unit_labels is 0"),
        ({"bin_width": 0.0}, "bin_width is 0.0"),
        ({"bin_width": math.nan}, "bin_width is nan"),
        ({"hop": 0}, "hop is 0"),
        ({"hop": N_BINS + 1}, f"hop is {N_BINS + 1}"),
    ],
)
def test_sizes_that_no_stream_has_are_refused(wrong, named):
    with pytest.raises(ValueError, match=named):
        settings("rig", **wrong)


def test_two_channels_of_one_label_are_refused():
    with pytest.raises(ValueError, match="unique label"):
        Outlets(settings("rig", unit_labels=("u1", "u1"), rates=True))


FACTORS = ("factor_0", "factor_1", "factor_2")
WHERE = ("trial", "bin")


@pytest.mark.lsl
@pytest.mark.parametrize(
    ("hop", "rates", "expected"),
    [
        (None, True, {
            "TrialFactors": ("LatentFactors", 0.0, "float32", FACTORS + WHERE, "centre"),
            "Rates": ("FiringRates", 0.0, "float32", UNITS + WHERE, "centre"),
            "Status": ("Markers", 0.0, "string", ("status",), ""),
            "Latency": ("Metrics", 0.0, "double64", LATENCY_CHANNELS, "end"),
            "Journal": ("Journal", 0.0, "double64", JOURNAL_CHANNELS, ""),
        }),
        (3, True, {
            "Factors": ("LatentFactors", 1 / 0.003, "float32", FACTORS, "centre"),
            "Rates": ("FiringRates", 1 / 0.003, "float32", UNITS, "centre"),
            "Status": ("Markers", 0.0, "string", ("status",), ""),
            "Latency": ("Metrics", 0.0, "double64", LATENCY_CHANNELS, "end"),
            "Journal": ("Journal", 0.0, "double64", JOURNAL_CHANNELS, ""),
        }),
        (1, False, {
            "Factors": ("LatentFactors", 1 / 0.003, "float32", FACTORS, "centre"),
            "Status": ("Markers", 0.0, "string", ("status",), ""),
            "Latency": ("Metrics", 0.0, "double64", LATENCY_CHANNELS, "end"),
            "Journal": ("Journal", 0.0, "double64", JOURNAL_CHANNELS, ""),
        }),
    ],
)  # fmt: skip
def test_streams_are_those_of_the_mode_and_say_what_they_are(unique, hop, rates, expected):
    asked = settings(unique, hop=hop, rates=rates, bin_width=0.003, clock="stream")
    outlets = Outlets(asked)
    infos = found(unique, len(expected), no_more=True)
    assert set(infos) == set(expected)
    for name, (kind, rate, form, labels, reference) in expected.items():
        inlet = pylsl.StreamInlet(infos[name])
        header = parse_header(inlet.info(10.0).as_xml())
        assert header.name == f"{unique} {name}"
        assert (header.type, header.rate, header.format) == (kind, rate, form)
        assert header.source_id == f"bci-lfads:{unique}:{name}"
        assert header.labels == labels
        assert header.in_hertz == (name == "Rates")
        said = {
            path: header.text(path)
            for path in (
                "bin_width", "timestamp_reference", "time_base", "window/mode", "window/n_bins",
                "window/length", "window/hop", "model/hash", "engine/name",
                "engine/number_format", "input_source", "synchronization/can_drop_samples",
            )
        }  # fmt: skip
        assert said == {
            "bin_width": "0.003",
            "timestamp_reference": reference,
            "time_base": "stream",
            "window/mode": "trials" if hop is None else "sliding",
            "window/n_bins": str(N_BINS),
            "window/length": repr(N_BINS * 0.003),
            "window/hop": "" if hop is None else str(hop),
            "model/hash": "c0ffee",
            "engine/name": "native",
            "engine/number_format": "int16",
            "input_source": "name 'Spikes' and type 'SpikeEvents'",
            "synchronization/can_drop_samples": "true",
        }
    outlets.close()


@pytest.mark.lsl
def test_trials_arrive_to_the_bit(unique):
    """Values, stamps and order, though trials overlap, lie apart, and the arrays are used again."""
    outlets = Outlets(settings(unique, rates=True))
    consumer = Consumer(unique, 5)
    trials = [window(k) for k in range(5)]
    trials[1][2][:] = trials[0][2] + 0.012  # overlaps the one before
    trials[2][0][0] = (0.0, -0.0, np.float32(1e-42))
    trials[2][0][1] = (np.inf, -np.inf, np.nan)
    factors, log_rates, stamps = (np.empty_like(part) for part in trials[0])
    numbers = (0, 1, 2, 7, 2**24)  # what float32 counts up to
    for number, trial in zip(numbers, trials, strict=True):
        for reused, part in zip((factors, log_rates, stamps), trial, strict=True):
            reused[:] = part
        outlets.push_trial(factors, log_rates, stamps, number)
    for stream, n_values, values in (
        ("TrialFactors", N_FACTORS, [t[0] for t in trials]),
        ("Rates", len(UNITS), [np.exp(t[1]) for t in trials]),
    ):
        samples, when = consumer.take(stream, 5 * N_BINS)
        samples = samples.astype(np.float32).reshape(5, N_BINS, n_values + 2)
        same_bits(samples[..., :-2], np.array(values))
        np.testing.assert_array_equal(samples[:, :, -2], np.repeat(numbers, N_BINS).reshape(5, -1))
        np.testing.assert_array_equal(samples[:, :, -1], np.tile(np.arange(N_BINS), (5, 1)))
        same_bits(when, np.concatenate([t[2] for t in trials]))
    outlets.close()


@pytest.mark.lsl
@pytest.mark.parametrize("hop", [1, 3])
def test_a_sliding_window_publishes_one_sample_a_bin(unique, hop):
    outlets = Outlets(settings(unique, hop=hop, rates=True))
    consumer = Consumer(unique, 5)
    factors, log_rates, stamps = window(0, 8 * hop)
    for first in range(0, 8 * hop, hop):
        new = slice(first, first + hop)
        outlets.push_sliding(factors[new], log_rates[new], stamps[new])
    for stream, values in (("Factors", factors), ("Rates", np.exp(log_rates))):
        samples, when = consumer.take(stream, 8 * hop)
        same_bits(samples.astype(np.float32), values)
        same_bits(when, stamps)
    outlets.close()


@pytest.mark.lsl
def test_factors_go_out_without_rates_and_rates_that_overflow_are_infinite(unique):
    outlets = Outlets(settings(unique, rates=True))
    consumer = Consumer(unique, 5)
    factors, log_rates, stamps = window(0)
    outlets.push_trial(factors, None, stamps, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outlets.push_trial(factors, np.full_like(log_rates, 1000.0), stamps, 1)
    assert len(consumer.take("TrialFactors", 2 * N_BINS)[1]) == 2 * N_BINS
    rates, _ = consumer.take("Rates", N_BINS)
    assert np.all(rates[:, :-2] == np.inf)
    assert np.all(rates[:, -2] == 1)
    outlets.close()


@pytest.mark.lsl
def test_status_is_compact_json_whatever_the_numbers(unique):
    outlets = Outlets(settings(unique))
    consumer = Consumer(unique, 4)
    plain = {"state": "running", "reason": "", "counters": {"late": 3}, "latency_ms": None}
    odd = {
        "state": "Ü\n\0'<\ud800", "correction": math.nan, "watermark": -math.inf,
        "inner": {"deep": [1, math.inf, (2.5, math.nan), "NaN"], "flag": True},
    }  # fmt: skip
    outlets.push_status(plain, 1234.5)
    outlets.push_status(odd, 1234.25)
    texts, stamps = consumer.take("Status", 2)
    assert stamps.tolist() == [1234.5, 1234.25]
    (first,), (second,) = texts.tolist()
    assert first == ('{"state":"running","reason":"","counters":{"late":3},"latency_ms":null}')
    assert json.loads(second) == {
        "state": "Ü\n\0'<\ud800", "correction": None, "watermark": None,
        "inner": {"deep": [1, None, [2.5, None], "NaN"], "flag": True},
    }  # fmt: skip
    assert math.isnan(odd["correction"]), "what the caller holds is left alone"
    outlets.close()


@pytest.mark.lsl
def test_latencies_arrive_to_the_bit_also_where_there_was_no_spike(unique):
    outlets = Outlets(settings(unique))
    consumer = Consumer(unique, 4)
    moments = 1e5 + np.random.default_rng(0).random((4, 6))
    moments[2, 1] = math.nan
    for row in moments.tolist():
        outlets.push_latency(*row)
    samples, stamps = consumer.take("Latency", 4)
    same_bits(samples, moments[:, 1:])
    same_bits(stamps, moments[:, 0])
    outlets.close()


@pytest.mark.lsl
def test_streams_go_when_closed_and_come_back_as_the_same(unique):
    outlets = Outlets(settings(unique))
    before = {info.source_id() for info in found(unique, 4).values()}
    consumer = Consumer(unique, 4)
    outlets.close()
    until(lambda: consumer.lost("Latency"))
    outlets = Outlets(settings(unique))
    assert {info.source_id() for info in found(unique, 4).values()} == before
    outlets.close()
