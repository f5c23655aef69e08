"""What streams say of themselves."""

import pylsl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stream_headers import counts, events, ids, make, nds

from bci_lfads.headers import parse_header


def test_a_header_says_what_lsl_was_told():
    header = make(("u1", "µ2"), name="N & <M>", kind="K", rate=250.0, form="double64")
    assert (header.name, header.type, header.source_id) == ("N & <M>", "K", "s")
    assert (header.n_channels, header.rate, header.format) == (2, 250.0, "double64")
    assert header.labels == ("u1", "µ2")
    assert not header.integer
    assert make(("a",), form="int8").integer


def test_texts_of_the_description_are_found_by_path():
    header = make(("a",), desc={"time_base": " stream ", "model": {"hash": "f00"}})
    assert header.text("time_base") == "stream"
    assert header.text("model/hash") == "f00"
    assert header.text("model/none") == ""


def test_labels_count_only_where_each_channel_has_one():
    assert make(("a", "", "c")).labels == ()
    info = pylsl.StreamInfo("x", "y", 3, 0, "int16", "s")
    channels = info.desc().append_child("channels")
    channels.append_child("channel").append_child_value("name", "only one of three")
    assert parse_header(info.as_xml()).labels == ()


def test_event_columns():
    assert events().event_columns == (0, 1)
    assert nds().event_columns == (0, 1)
    assert make(("w", "Unit", "CH")).event_columns == (2, 1)
    assert make(("channel", "unit", "unit_id")).event_columns is None
    assert make(("channel_name", "unit")).event_columns is None
    assert counts(("a", "b")).event_columns is None


def test_listed_units_are_by_key_and_only_where_labels_are_unique():
    header = events([("a", 1, 0), ("b", 1, 1)])
    assert header.listed_units(("channel", "unit")) == {"1/0": "a", "1/1": "b"}
    assert header.listed_units(("id",)) == {}
    assert ids([("a", 4)]).listed_units(("id",)) == {"4": "a"}
    assert events([("a", 1, 0), ("a", 1, 1)]).listed_units(("channel", "unit")) == {}


@pytest.mark.parametrize("unit", ["Hz", " hz ", "spikes/s", "Spikes / second", "spk/s", "1/s"])
def test_units_of_rates(unit):
    assert counts(("a", "b"), units=["count", unit]).in_hertz


@pytest.mark.parametrize("unit", ["", "count", "counts", "spikes", "kHz bandwidth", "microvolts"])
def test_units_of_no_rates(unit):
    assert not counts(("a", "b"), units=unit).in_hertz


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (("<info>", "<info"), "is no XML"),
        (("<info>", "<!DOCTYPE a [<!ENTITY b 'c'>]><info>"), "declares entities"),
        (("<channel_count>1", "<channel_count>many"), "invalid literal"),
        (("<nominal_srate>100.0000000000000", "<nominal_srate>inf"), "a rate of inf Hz"),
        (("<nominal_srate>100.0000000000000", "<nominal_srate>nan"), "a rate of nan Hz"),
        (("<nominal_srate>100", "<nominal_srate>-1"), "a rate of -1"),
    ],
)
def test_a_description_that_makes_no_sense_is_refused(wrong, message):
    xml = pylsl.StreamInfo("x", "y", 1, 100, "int16", "s").as_xml()
    assert wrong[0] in xml
    with pytest.raises(ValueError, match=message):
        parse_header(xml.replace(*wrong))


@given(st.text(max_size=200))
def test_no_text_is_worse_than_a_value_error(text):
    with pytest.raises(ValueError, match=r".+"):
        parse_header(text)
