"""Descriptions of streams, as LSL writes them, without a network."""

import pylsl

from bci_lfads.headers import Header, parse_header
from bci_lfads.streams.metadata import stream_info


def make(labels, *, name="spikes", kind="Spikes", rate=0.0, form="int32", units="", desc=None):
    """Return the header of a stream with these channels."""
    if len(set(labels)) == len(labels) and all(labels):
        info = stream_info(
            name, kind, source_id="s", labels=labels, units=units, rate=rate, form=form, desc=desc
        )
    else:  # which our own streams never are
        info = pylsl.StreamInfo(name, kind, len(labels), rate, form, "s")
        channels = info.desc().append_child("channels")
        for label in labels:
            channels.append_child("channel").append_child_value("label", label)
    return parse_header(info.as_xml())


def events(listed=(), *, form="int32", labels=("channel", "unit")) -> Header:
    """Return the header of spike events that lists units as (label, channel, unit)."""
    entries = [{"label": n, "channel": str(c), "unit": str(u)} for n, c, u in listed]
    return make(labels, form=form, desc={"units": {"unit": entries}} if entries else None)


def ids(listed=(), *, form="int32") -> Header:
    """Return the header of spike ids that lists units as (label, id)."""
    entries = [{"label": n, "id": str(i)} for n, i in listed]
    return make(("id",), form=form, desc={"units": {"unit": entries}} if entries else None)


def counts(labels, *, width=0.01, form="int16", units="", reference=None) -> Header:
    """Return the header of a stream of counts."""
    desc = {"timestamp_reference": reference} if reference else None
    return make(labels, rate=1 / width, form=form, units=units, desc=desc)


def nds(n_waveform=48) -> Header:
    """Return the header that Neural Data Simulator gives its spikes."""
    info = pylsl.StreamInfo(
        "NDS-SpikeEvents", "SpikeEvents", 2 + n_waveform, 0, "int16", "SimulatedSpikeEvents"
    )
    channels = info.desc().append_child("channels")
    for label in ("channels", "units", *(str(i) for i in range(n_waveform))):
        channels.append_child("channel").append_child_value("label", label)
    acquisition = info.desc().append_child("acquisition")
    acquisition.append_child_value("manufacturer", "Blackrock Neurotech")
    acquisition.append_child_value("id", "0")
    return parse_header(info.as_xml())
