"""The inlet for markers."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bci_lfads.errors import StreamError
from bci_lfads.headers import Header
from bci_lfads.streams.chunks import NO_MARKERS, MarkerChunk
from bci_lfads.streams.connection import Connection

_MOST = 1024


class MarkerInlet:
    """Labelled moments from a stream of text or numbers; whole numbers are labelled like ``7``.

    Parameters
    ----------
    query
        LSL properties of the stream.
    hosts
        Those that it may come from; empty for any.
    """

    def __init__(self, query: Mapping[str, str], *, hosts: Sequence[str] = ()) -> None:
        self.connection = Connection("markers", query, _accept, seconds=60.0, hosts=hosts)

    @property
    def state(self) -> str:
        """``waiting``, ``open`` or ``refused``."""
        return self.connection.state

    @property
    def reason(self) -> str:
        """Why it is not open, in words."""
        return self.connection.reason

    def open(self, timeout: float, stop: threading.Event | None = None) -> bool:
        """Wait until the stream is connected; return whether it is, or `stop` was set before.

        Raises
        ------
        StreamError
            If it is not there in time, or is refused.
        """
        return self.connection.open(timeout, stop)

    def pull(self) -> MarkerChunk:
        """Return what has arrived; nothing while the stream is away."""
        samples, stamps = self.connection.pull(_MOST)
        if not len(stamps):
            return NO_MARKERS
        return MarkerChunk(np.asarray(stamps, np.float64), tuple(label(s[0]) for s in samples))

    def close(self) -> None:
        """Disconnect."""
        self.connection.close()


def _accept(header: Header) -> None:
    if header.rate != 0 or header.n_channels != 1:
        raise StreamError(
            f"stream '{header.name}' has {header.n_channels} channels at {header.rate:g} Hz; "
            f"markers come irregularly (rate 0) on one channel"
        )


def label(value: Any) -> str:
    """Return the label of a sample: text as it is, a whole number without its point."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").strip()
    return str(int(value)) if float(value).is_integer() else str(value)
