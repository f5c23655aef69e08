"""Samples to spikes, without a network."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stream_headers import counts, events, ids, make, nds

from bci_lfads.errors import StreamError
from bci_lfads.streams.decoders import DecoderCounters, make_decoder, spike_format
from bci_lfads.streams.unit_map import expand_units, model_labels

UNITS = ("a", "b", "c")
LISTED = (("c", 7, 1), ("a", 7, 0), ("b", 2, 0), ("other", 9, 0))
IDS = (("c", 12), ("a", 3), ("b", 0), ("other", 5))
EVENT_FORMS = ("int8", "int16", "int32", "int64", "float32", "double64")
DTYPES = {"double64": "float64"}


def decoder(header, units=UNITS, unit_map=None, *, bin_width=0.02, **kwargs):
    counters = DecoderCounters()
    made, bins = make_decoder(
        header, units, unit_map or {}, bin_width=bin_width, counters=counters, **kwargs
    )
    return made, bins, counters


def decode(made, rows, stamps=None):
    """Decode rows of values as an inlet would hand them over."""
    kind = object if made.dtype is None else made.dtype
    samples = np.array(rows, kind)
    samples = samples[:, None] if samples.ndim == 1 else samples
    chunk = made.decode(samples, np.arange(len(rows), dtype=float) if stamps is None else stamps)
    assert chunk.times.dtype == np.float64
    assert chunk.units.dtype == chunk.counts.dtype == np.int32
    assert len(chunk.times) == len(chunk.units) == len(chunk.counts)
    return chunk


def refused(match, header, *args, **kwargs):
    with pytest.raises(StreamError, match=match):
        decoder(header, *args, **kwargs)


# What a stream is


@pytest.mark.parametrize(
    "labels",
    [("channel", "unit"), ("ch", "units"), ("CHANNELS", "Unit_ID"), ("x", "unit", "y", "channel")],
)
@pytest.mark.parametrize("form", EVENT_FORMS)
def test_a_stream_with_channel_and_unit_columns_carries_events(labels, form):
    assert spike_format(make(labels, form=form)) == "events"


def test_the_other_formats_are_told_apart():
    assert spike_format(make(("id",), form="int32")) == "ids"
    assert spike_format(make(("anything",), form="string")) == "ids"
    assert spike_format(make(("u1", "u2"), rate=100, form="int16")) == "counts"
    assert spike_format(make(("channel", "unit"), rate=100, form="float32")) == "counts"


@pytest.mark.fault("wrong-type")
@pytest.mark.parametrize(
    "header",
    [
        make(("x", "y"), form="int32"),
        make(("channel", "channels", "unit"), form="int32"),
        make(("x",), form="float32"),
        make(("channel", "unit"), form="string"),
        make(("x",), rate=10.0, form="string"),
    ],
)
def test_what_carries_no_spikes_is_refused_with_what_is_accepted(header):
    with pytest.raises(StreamError, match=r"stream 'spikes' .* carries no spikes; accepted are"):
        spike_format(header)


@pytest.mark.parametrize("unit", ["Hz", "hertz", "spikes/s", "sp/s", "counts per second", "1/s"])
def test_rates_are_refused_unless_declared_as_counts(unit):
    header = counts(UNITS, units=unit)
    refused("in Hz, and rates are no counts.*declared_unit = 'count'", header)
    made, _, _ = decoder(header, declared="count")
    assert decode(made, [[1, 0, 2]]).counts.tolist() == [1, 2]


def test_another_format_than_the_rig_file_says_is_refused():
    refused("carries events; the rig file says format = 'ids'", events(LISTED), form="ids")
    decoder(events(LISTED), form="events")


# Events


@pytest.mark.parametrize("form", EVENT_FORMS)
def test_events_are_mapped_by_the_labels_that_the_stream_lists(form):
    made, bins, counters = decoder(events(LISTED, form=form))
    assert bins is None
    assert made.dtype == DTYPES.get(form, form)
    chunk = decode(made, [[7, 0], [7, 1], [2, 0], [9, 0], [7, 2], [0, 7]])
    assert chunk.units.tolist() == [0, 2, 1, -1, -1, -1]
    assert chunk.counts.tolist() == [1] * 6
    assert chunk.times.tolist() == list(range(6))
    assert counters.invalid == 0


def test_events_of_a_stream_that_lists_nothing_are_mapped_by_key():
    made, _, _ = decoder(events(), unit_map={"a": "1/0", "b": "1/1", "c": " 20 / 3 "})
    chunk = decode(made, [[20, 3], [1, 1], [1, 0], [3, 20]])
    assert chunk.units.tolist() == [2, 1, 0, -1]


def test_a_model_labelled_by_keys_needs_no_map():
    made, _, _ = decoder(events(), units=("1/0", "1/1"))
    assert decode(made, [[1, 1], [1, 0]]).units.tolist() == [1, 0]


def test_a_map_may_name_the_streams_label_or_key():
    made, _, _ = decoder(events(LISTED), unit_map={"a": "other", "b": "5/5"})
    chunk = decode(made, [[9, 0], [5, 5], [7, 1], [7, 0]])
    assert chunk.units.tolist() == [0, 1, 2, -1]


def test_further_columns_are_waveforms():
    header = events(LISTED, form="float32", labels=("w0", "unit", "w1", "channel", "w2"))
    made, _, counters = decoder(header)
    chunk = decode(made, [[math.nan, 1, -7, 7, 0.5], [0, 0, math.inf, 2, -1]])
    assert chunk.units.tolist() == [2, 1]
    assert counters.invalid == 0


def test_neural_data_simulator_is_understood_as_it_is():
    """Its keys are the simulated unit's number and 0; waveforms follow."""
    labels = [f"u{i}" for i in range(70)]
    made, bins, counters = decoder(nds(), units=labels, unit_map={"u*": "*/0"})
    rows = np.random.default_rng(1).integers(-3000, 3000, (50, 50))
    rows[:, 0], rows[:, 1] = np.arange(50) * 3 % 80, 0
    chunk = decode(made, rows)
    assert chunk.units.tolist() == [u if u < 70 else -1 for u in rows[:, 0].tolist()]
    assert (made.dtype, bins, counters.invalid) == (np.int16, None, 0)


def test_neural_data_simulator_needs_a_map_and_says_so():
    refused(
        "model expects 3 units; stream 'NDS-SpikeEvents' lists none by label; missing: a, b, c; "
        r"map each in \[input.units\] to 'channel/unit'",
        nds(),
    )


@pytest.mark.fault("unknown-channels")
@given(st.data())
def test_an_event_is_of_the_unit_with_its_key_or_invalid_or_of_none(data):
    """Whatever the values: never of another unit, never silently gone."""
    form = data.draw(st.sampled_from(EVENT_FORMS))
    small = st.integers(0, 3)
    keys = data.draw(st.lists(st.tuples(small, small), min_size=1, max_size=8, unique=True))
    labels = [f"u{i}" for i in range(len(keys))]
    if form.startswith("int"):
        limits = np.iinfo(form)
        wild = st.integers(int(limits.min), int(limits.max))
        wild |= st.sampled_from([limits.min, limits.max, -1, 0])
        if form == "int64":
            wild |= st.sampled_from([2**31, 2**31 - 1, 2**32, 2**62, -(2**31)])
    else:
        wild = st.floats(width=32 if form == "float32" else 64)
    values = st.integers(-1, 4) | wild
    rows = data.draw(st.lists(st.tuples(values, values), max_size=20))
    made, _, counters = decoder(
        events([(n, *k) for n, k in zip(labels, keys, strict=True)], form=form), units=labels
    )
    samples = np.array(rows, made.dtype).reshape(len(rows), 2)
    chunk = decode(made, samples)
    right = [
        (t, keys.index((c, u)) if (c, u) in keys else -1)
        for t, (c, u) in enumerate(samples.tolist())
        if all(math.isfinite(v) and 0 <= v < 2**31 and v == int(v) for v in (c, u))
    ]
    assert list(zip(chunk.times.tolist(), chunk.units.tolist(), strict=True)) == right
    assert counters.invalid == len(rows) - len(right)


# Ids


@pytest.mark.parametrize("form", ["int8", "int16", "int32", "int64"])
def test_ids_are_mapped_by_label_or_key(form):
    made, _, counters = decoder(ids(IDS, form=form), unit_map={"b": "33"})
    chunk = decode(made, [12, 3, 0, 33, 5, -1])
    assert chunk.units.tolist() == [2, 0, -1, 1, -1]
    assert chunk.times.tolist() == [0, 1, 2, 3, 4]
    assert counters.invalid == 1


def test_ids_of_text_are_the_labels_unless_listed():
    made, _, counters = decoder(ids(form="string"), unit_map={"b": "einheit µ"})
    rows = [b"a", "einheit µ".encode(), b"b", b"c", b"\xff\xfe", b""]
    chunk = decode(made, rows)
    assert (chunk.units.tolist(), counters.invalid) == ([0, 1, -1, 2, -1, -1], 0)
    listed = [("a", "x-1"), ("b", "x-2"), ("c", "x-3")]
    made, _, _ = decoder(ids(listed, form="string"))
    assert decode(made, [b"x-2", b"a", b"x-1"]).units.tolist() == [1, -1, 0]


@pytest.mark.fault("unknown-channels")
@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 6), max_size=20))
def test_any_id_is_of_its_unit_or_of_none(values):
    made, _, counters = decoder(ids(IDS, form="int64"))
    chunk = decode(made, np.array(values, np.int64))
    known = {12: 2, 3: 0, 0: 1}
    assert chunk.units.tolist() == [known.get(v, -1) for v in values if 0 <= v < 2**31]
    assert counters.invalid == sum(not 0 <= v < 2**31 for v in values)


# Units that are missing, shared or called otherwise


@pytest.mark.parametrize(
    ("header", "how"),
    [
        (events(LISTED[:1]), "'channel/unit' or its label"),
        (ids(IDS[:1]), "its id or its label"),
        (ids(IDS[:1], form="string"), "its id or its label"),
        (counts(("c", "d")), "its label"),
    ],
)
def test_missing_units_are_named_with_what_there_is(header, how):
    refused(
        rf"model expects 3 units; stream 'spikes' lists \d \(c.*missing: a, b; map each in "
        rf"\[input.units\] to {how}",
        header,
    )


def test_many_missing_units_are_not_all_named():
    refused("missing: u0, u1, u2, u3, u4 and 65 more", events(), units=[f"u{i}" for i in range(70)])


def test_a_mapped_unit_that_is_missing_is_named_with_its_name_there():
    refused(r"missing: a \(mapped to z\)", events(LISTED), unit_map={"a": "z"})
    refused(r"missing: a \(mapped to z\)", counts(UNITS), unit_map={"a": "z"})


@pytest.mark.parametrize("key", ["1", "1/", "/1", "1/2/3", "a/b", "-1/0", "1.0/0", "2147483648/0"])
def test_what_is_no_key_is_missing(key):
    refused(r"missing: a \(mapped to", events(), units=("a",), unit_map={"a": key})


@pytest.mark.parametrize(
    ("header", "unit_map"),
    [
        (events(LISTED), {"a": "b"}),
        (events(LISTED), {"a": "2/0"}),
        (ids(IDS), {"a": "0"}),
        (ids(form="string"), {"a": "b"}),
        (counts(UNITS), {"a": "b"}),
    ],
)
def test_two_units_in_one_place_are_refused(header, unit_map):
    refused("one and the same unit for a, b; map each to a unit", header, unit_map=unit_map)


def test_a_label_that_looks_like_a_key_is_a_label_where_units_are_listed():
    """The stream calls the unit with id 1 '2': the model's '2' is that one, and '1' is missing."""
    header = ids([("2", 1), ("3", 2)])
    made, _, _ = decoder(header, units=("2", "3"))
    assert decode(made, [1, 2]).units.tolist() == [0, 1]
    refused("missing: 1", header, units=("1", "2"))


def test_a_pattern_stands_for_many_units_and_gives_way_to_a_key():
    units = ("e1-u0", "e12-u0", "x", "e-u0")
    made, _, _ = decoder(events(), units=units, unit_map={
        "e*-u0": "*/0", "x": "5/1", "e-u0": "99/9",
    })  # fmt: skip
    assert decode(made, [[12, 0], [1, 0], [5, 1], [99, 9]]).units.tolist() == [1, 0, 2, 3]


def test_a_pattern_renames_labels_too():
    made, _, _ = decoder(counts(("unit A", "unit B")), units=("B", "A"), unit_map={"*": "unit *"})
    assert decode(made, [[5, 6]]).units.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("unit_map", "message"),
    [
        ({"z": "1/0"}, "maps 'z', which the model does not have; its units are a, b, c"),
        ({"z*": "*/0"}, r"maps 'z\*', which the model does not have"),
        ({"*": "1/0"}, r"'1/0'; a pattern has one \* on either side"),
        ({"*": "*/*"}, r"a pattern has one \*"),
        ({"**": "*/0"}, r"a pattern has one \*"),
    ],
)
def test_a_map_that_fits_no_unit_is_refused(unit_map, message):
    refused(message, events(), unit_map=unit_map)


# Counts


def test_labels_of_a_recording_become_those_of_the_model_by_the_same_map():
    labels = ("7/0", "8/0", "x", "9/1")
    unit_map = {"u*": "*/0", "last": "9/1"}
    found = model_labels(labels, unit_map)
    assert found == ("u7", "u8", "x", "last")
    back = expand_units(found, unit_map)
    assert tuple(back.get(u, u) for u in found) == labels


@pytest.mark.parametrize(
    ("unit_map", "message"),
    [
        ({"u*": "*/5"}, "fits none of the recording's 2 units"),
        ({"a": "7/9"}, "maps 7/9, which fits none"),
        ({"x": "7/0"}, "gives two units the label x"),
    ],
)
def test_a_map_that_fits_no_label_or_gives_one_twice_is_refused(unit_map, message):
    with pytest.raises(StreamError, match=message):
        model_labels(("7/0", "x"), unit_map)


@pytest.mark.parametrize("form", EVENT_FORMS)
def test_counts_are_mapped_by_label_not_by_position(form):
    made, _, counters = decoder(counts(("c", "other", "a", "b"), form=form))
    chunk = decode(made, [[1, 2, 0, 3], [0, 0, 0, 0], [0, 0, 100, 0]])
    assert chunk.units.tolist() == [2, -1, 1, 0]
    assert chunk.counts.tolist() == [1, 2, 3, 100]
    assert counters.invalid == 0


@pytest.mark.parametrize(
    ("reference", "shift"), [("start", 0.005), ("centre", 0.0), ("end", -0.005), (None, -0.005)]
)
def test_counts_are_put_in_the_middle_of_their_bin(reference, shift):
    made, bins, _ = decoder(counts(UNITS, reference=reference))
    assert bins.width == pytest.approx(0.01)
    chunk = decode(made, [[1, 0, 0], [0, 1, 1]], np.array([10.0, 10.01]))
    assert chunk.times.tolist() == pytest.approx([10 + shift, 10.01 + shift, 10.01 + shift])


def test_the_rig_file_knows_better_than_the_stream_what_a_stamp_means():
    _, bins, _ = decoder(counts(UNITS, reference="start"), reference="end")
    assert bins.to_centre == pytest.approx(-0.005)
    _, bins, _ = decoder(counts(UNITS, reference="sometime"), reference="centre")
    assert bins.to_centre == 0.0
    refused("timestamp_reference 'sometime'; expected start", counts(UNITS, reference="sometime"))


@pytest.mark.parametrize(("source", "model"), [(0.01, 0.01), (0.001, 0.02), (1 / 60, 0.05)])
def test_bins_that_divide_are_taken(source, model):
    _, bins, _ = decoder(counts(UNITS, width=source), bin_width=model)
    assert bins.width == pytest.approx(source)


@pytest.mark.parametrize(("source", "model"), [(0.02, 0.01), (0.01, 0.015), (0.003, 0.01)])
def test_bins_that_do_not_divide_are_refused(source, model):
    refused("no whole multiple", counts(UNITS, width=source), bin_width=model)


def test_counts_without_labels_or_with_shared_ones_are_refused():
    refused("lists none by label; missing: a, b, c", make(("", "", ""), rate=100))
    refused("missing: a; map", make(("a", "a", "b", "c"), rate=100))
    decoder(make(("x", "x", "a", "b", "c"), rate=100))


@pytest.mark.fault("bad-values")
@given(st.data())
def test_every_count_comes_out_once_or_is_counted_as_invalid(data):
    form = data.draw(st.sampled_from(EVENT_FORMS))
    if form.startswith("int"):
        limits = np.iinfo(form)
        wild = st.integers(int(limits.min), int(limits.max))
    else:
        wild = st.floats(width=32 if form == "float32" else 64)
    row = st.tuples(*[st.integers(0, 5) | wild] * 4)
    rows = data.draw(st.lists(row, max_size=10))
    made, _, counters = decoder(counts(("c", "other", "a", "b"), form=form))
    samples = np.array(rows, made.dtype).reshape(len(rows), 4)
    chunk = decode(made, samples)
    units = (2, -1, 0, 1)
    right, invalid = [], 0
    for t, values in enumerate(samples.tolist()):
        for unit, value in zip(units, values, strict=True):
            if value == 0:
                continue
            if math.isfinite(value) and 0 < value < 2**31 and value == int(value):
                right.append((t, unit, int(value)))
            else:
                invalid += 1
    times = np.round(chunk.times + 0.005).astype(int)
    assert list(zip(times.tolist(), chunk.units.tolist(), chunk.counts.tolist(), strict=True)) == (
        right
    )
    assert counters.invalid == invalid
