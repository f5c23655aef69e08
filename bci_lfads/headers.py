"""What a stream says of itself: the same XML on the network and in an XDF file."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree

SpikeFormat = Literal["events", "ids", "counts"]
# Singular as documented, plural as Neural Data Simulator writes them, _id as its file streamer
# does.
_CHANNEL = re.compile(r"(ch|channel)(s|_?ids?)?", re.IGNORECASE)
_UNIT = re.compile(r"unit(s|_?ids?)?", re.IGNORECASE)
_HERTZ = re.compile(r"hz|hertz|(sp|spk|spikes?|counts?|events?)\s*(/|per)\s*s.*|1/s", re.IGNORECASE)


@dataclass
class Header:
    """A stream's own description.

    Attributes
    ----------
    rate
        Nominal sampling rate, Hz; 0 for irregular.
    format
        Channel format, e.g. ``int32`` or ``string``.
    info
        All of it, the root element ``info``.
    """

    name: str
    type: str
    source_id: str
    n_channels: int
    rate: float
    format: str
    info: ElementTree.Element

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the channels; empty where it does not label each."""
        labels = [
            (c.findtext("label") or c.findtext("name") or "").strip() for c in self._channels()
        ]
        return tuple(labels) if len(labels) == self.n_channels and all(labels) else ()

    @property
    def event_columns(self) -> tuple[int, int] | None:
        """Columns that hold channel and unit of a spike, or None."""
        channel = [i for i, label in enumerate(self.labels) if _CHANNEL.fullmatch(label)]
        unit = [i for i, label in enumerate(self.labels) if _UNIT.fullmatch(label)]
        return (channel[0], unit[0]) if len(channel) == 1 and len(unit) == 1 else None

    @property
    def in_hertz(self) -> bool:
        """Whether it says that its values are rates."""
        return any(_HERTZ.fullmatch((c.findtext("unit") or "").strip()) for c in self._channels())

    @property
    def integer(self) -> bool:
        """Whether its samples are whole numbers by format."""
        return self.format.startswith("int")

    def text(self, path: str) -> str:
        """Return a text of its ``desc``, e.g. ``timestamp_reference``; empty where it has none."""
        return (self.info.findtext(f"desc/{path}") or "").strip()

    def listed_units(self, fields: Sequence[str]) -> dict[str, str]:
        """Return label by key from ``desc/units/unit``; empty where labels are not unique.

        Parameters
        ----------
        fields
            What makes the key, joined by ``/``: ``channel`` and ``unit``, or ``id``.
        """
        known = {}
        for unit in self.info.iterfind("desc/units/unit"):
            parts = [(unit.findtext(f) or "").strip() for f in fields]
            label = (unit.findtext("label") or "").strip()
            if all(parts) and label:
                known["/".join(parts)] = label
        return known if len(set(known.values())) == len(known) else {}

    def _channels(self) -> list[ElementTree.Element]:
        return self.info.findall("desc/channels/channel")


def parse_header(xml: str) -> Header:
    """Read a stream's description.

    Raises
    ------
    ValueError
        If it is no XML, or a number in it is none.
    """
    if "<!DOCTYPE" in xml or "<!ENTITY" in xml:
        raise ValueError("the stream's description declares entities, which no stream needs")
    try:
        info = ElementTree.fromstring(xml)  # noqa: S314 - without entities
    except ElementTree.ParseError as error:
        raise ValueError(f"the stream's description is no XML: {error}") from error

    def text(tag: str) -> str:
        return (info.findtext(tag) or "").strip()

    rate = float(text("nominal_srate"))
    if not 0 <= rate < math.inf:
        raise ValueError(f"the stream's description says a rate of {rate} Hz")
    return Header(
        name=text("name"),
        type=text("type"),
        source_id=text("source_id"),
        n_channels=int(text("channel_count")),
        rate=rate,
        format=text("channel_format"),
        info=info,
    )
