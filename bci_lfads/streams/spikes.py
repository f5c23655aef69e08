"""The inlet for spikes."""

from __future__ import annotations

import math
import threading
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bci_lfads.headers import Header
from bci_lfads.memory import held
from bci_lfads.streams.chunks import NO_SPIKES, SpikeChunk
from bci_lfads.streams.connection import Connection
from bci_lfads.streams.decoders import Decoder, DecoderCounters, SourceBins, make_decoder

_MOST = 4096


class SpikeInlet:
    """Spikes of the model's units from a stream in any of the three formats.

    Parameters
    ----------
    query
        LSL properties of the stream.
    units
        Labels of the model's units; a spike's unit is the position here.
    bin_width
        Of the model, seconds.
    unit_map
        Label or key in the stream of model units that are called otherwise there; see
        `unit_map.expand_units`.
    form, declared_unit, timestamp_reference
        What the rig file says of the stream.
    max_rate
        Spikes per second to size buffers for.
    optional
        Of the units, those that the stream need not have.
    hosts
        Those that the stream may come from; empty for any.
    """

    def __init__(
        self,
        query: Mapping[str, str],
        units: Sequence[str],
        bin_width: float,
        *,
        unit_map: Mapping[str, str] | None = None,
        form: Literal["auto", "events", "ids", "counts"] = "auto",
        declared_unit: Literal["count"] | None = None,
        timestamp_reference: Literal["start", "centre", "end"] | None = None,
        max_rate: float = 50_000.0,
        optional: Collection[str] = (),
        hosts: Sequence[str] = (),
    ) -> None:
        self.counters = DecoderCounters()
        self.source_bins: SourceBins | None = None
        """Of a counts stream, once it is known."""
        self.last_stamp = -math.inf
        """Up to when the stream has said what there is: its newest spike, or bin's end."""
        self.n_pulled = 0
        """Samples taken by the last `pull`; a silent bin is one too."""
        self._decoder: Decoder | None = None
        self._buffer: NDArray[Any] | None = None

        def accept(header: Header) -> None:
            self._decoder, self.source_bins = make_decoder(
                header, units, unit_map or {}, bin_width=bin_width, form=form,
                declared=declared_unit, reference=timestamp_reference, optional=optional,
                counters=self.counters,
            )  # fmt: skip
            kind = self._decoder.dtype
            self._buffer = None if kind is None else held((_MOST, header.n_channels), kind)

        self.connection = Connection("spikes", query, accept, max_rate=max_rate, hosts=hosts)

    @property
    def state(self) -> str:
        """``waiting``, ``open`` or ``refused``."""
        return self.connection.state

    @property
    def reason(self) -> str:
        """Why it is not open, in words."""
        return self.connection.reason

    @property
    def time_base(self) -> str:
        """``stream`` where stamps are no moments of the LSL clock, else ``lsl``."""
        header = self.connection.header
        return (header.text("time_base") if header else "") or "lsl"

    @property
    def opened_at(self) -> float:
        """LSL time from which on samples of this connection are received; NaN before."""
        return self.connection.opened_at

    def open(self, timeout: float, stop: threading.Event | None = None) -> bool:
        """Wait until the stream is connected; return whether it is, or `stop` was set before.

        Raises
        ------
        StreamError
            If it is not there in time, or is refused.
        """
        return self.connection.open(timeout, stop)

    def pull(self) -> SpikeChunk:
        """Return what has arrived, at most some thousand samples; nothing while the stream is away.

        Silent bins of a counts stream give no entries, but see `last_stamp`.
        """
        self.n_pulled = 0
        # Connecting comes first: a source that comes back in another format changes the buffer.
        if not self.connection.poll() or self._decoder is None:
            return NO_SPIKES
        samples, stamps = self.connection.pull(_MOST, self._buffer)
        if not len(stamps):
            return NO_SPIKES
        self.n_pulled = len(stamps)
        last = float(np.max(stamps, where=np.isfinite(stamps), initial=-math.inf))
        if self.source_bins is not None:
            last += self.source_bins.to_centre + 0.5 * self.source_bins.width
        self.last_stamp = max(self.last_stamp, last)
        return self._decoder.decode(samples, stamps)

    def close(self) -> None:
        """Disconnect."""
        self.connection.close()
