"""Outlets that carry spikes and markers: what a replay or a simulation publishes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pylsl
from numpy.typing import NDArray

from bci_lfads.headers import SpikeFormat
from bci_lfads.streams.metadata import Desc, stream_info

_SECONDS = 30
"""Of data that a slow consumer may lag behind before samples are lost to it."""

TimeBase = Literal["lsl", "stream"]


class SpikeSource:
    """A stream of spikes in one of the three formats.

    Parameters
    ----------
    name
        Of the stream.
    unit_labels
        One a unit.
    form
        ``events``: int32 channels ``channel`` (the unit's position, from 1) and ``unit`` (0);
        ``ids``: one int32 channel, the unit's position, from 0; ``counts``: int16, a channel a
        unit, stamped with the end of the bin.
    bin_width
        Of counts, seconds.
    source_id
        Default: from the name.
    time_base
        ``lsl`` where stamps are moments of the LSL clock; ``stream`` where they only agree with
        each other and with the markers' (a replay that is not at ×1).
    max_rate
        Spikes per second to size buffers for.
    """

    def __init__(
        self,
        name: str,
        unit_labels: Sequence[str],
        form: SpikeFormat = "events",
        *,
        bin_width: float | None = None,
        source_id: str | None = None,
        time_base: TimeBase = "lsl",
        max_rate: float = 50_000.0,
    ) -> None:
        if (form == "counts") != (bin_width is not None):
            raise ValueError("a bin width goes with counts, and counts with a bin width")
        desc: dict[str, str | Desc | Sequence[Desc]] = {"time_base": time_base}
        source_id = source_id or f"{name} spikes"
        if form == "counts" and bin_width is not None:
            desc |= {"timestamp_reference": "end", "bin_width": repr(bin_width)}
            info = stream_info(
                name, "SpikeCounts", source_id=source_id, labels=unit_labels, units="count",
                rate=1.0 / bin_width, form="int16", desc=desc,
            )  # fmt: skip
            buffered = _SECONDS
        else:
            desc["units"] = {"unit": [_entry(form, i, u) for i, u in enumerate(unit_labels)]}
            events = form == "events"
            info = stream_info(
                name, "SpikeEvents" if events else "SpikeIds", source_id=source_id,
                labels=("channel", "unit") if events else ("id",), form="int32", desc=desc,
            )  # fmt: skip
            buffered = _hundreds(max_rate * _SECONDS)
        self.form = form
        self._outlet = pylsl.StreamOutlet(info, 0, buffered)

    def push(self, times: NDArray[np.float64], units: NDArray[np.int32]) -> None:
        """Push spikes.

        Parameters
        ----------
        times
            Stamps, seconds, shape ``(n,)``.
        units
            Positions in `unit_labels`, shape ``(n,)``.
        """
        if self.form == "counts":
            raise ValueError("this source carries counts; use push_counts")
        if not len(times):
            return
        if self.form == "events":
            samples = np.zeros((len(units), 2), np.int32)
            samples[:, 0] = units
            samples[:, 0] += 1
        else:
            samples = np.ascontiguousarray(units, np.int32)
        self._outlet.push_chunk(samples, times.tolist())

    def push_counts(self, counts: NDArray[np.uint8], times: NDArray[np.float64]) -> None:
        """Push rows of counts, shape ``(n, n_units)``, each with the stamp of its bin's end."""
        if self.form != "counts":
            raise ValueError(f"this source carries {self.form}; use push")
        if len(times):
            self._outlet.push_chunk(counts.astype(np.int16), times.tolist())

    def wait_for_consumer(self, timeout: float) -> bool:
        """Wait until someone listens; return whether that happened within `timeout` seconds."""
        return wait_for_consumer(self._outlet, timeout)

    def close(self) -> None:
        """Withdraw the stream."""
        del self._outlet


class MarkerSource:
    """A stream of markers: text, irregular.

    Parameters
    ----------
    name, source_id, time_base
        As of `SpikeSource`.
    """

    def __init__(
        self, name: str, *, source_id: str | None = None, time_base: TimeBase = "lsl"
    ) -> None:
        info = stream_info(
            name, "Markers", source_id=source_id or f"{name} markers", labels=("marker",),
            form="string", desc={"time_base": time_base},
        )  # fmt: skip
        self._outlet = pylsl.StreamOutlet(info)

    def push(self, time: float, label: str) -> None:
        """Push one marker with its stamp, seconds."""
        self._outlet.push_sample([label], time)

    def wait_for_consumer(self, timeout: float) -> bool:
        """Wait until someone listens; return whether that happened within `timeout` seconds."""
        return wait_for_consumer(self._outlet, timeout)

    def close(self) -> None:
        """Withdraw the stream."""
        del self._outlet


def wait_for_consumer(outlet: pylsl.StreamOutlet, timeout: float) -> bool:
    """Wait in slices, so that an interrupt from the keyboard is heard."""
    until = time.monotonic() + timeout
    while not outlet.have_consumers():
        left = until - time.monotonic()
        if left <= 0:
            return False
        outlet.wait_for_consumers(min(left, 0.2))
    return True


def _entry(form: SpikeFormat, position: int, label: str) -> Desc:
    if form == "events":
        return {"label": label, "channel": str(position + 1), "unit": "0"}
    return {"label": label, "id": str(position)}


def _hundreds(samples: float) -> int:
    """Return LSL's measure for buffers of irregular streams."""
    return max(10, int(samples // 100) + 1)
