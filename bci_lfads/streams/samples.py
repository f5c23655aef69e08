"""The inlet for numbers: factors, decoded behaviour, latencies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pylsl
from numpy.typing import NDArray

from bci_lfads.errors import StreamError
from bci_lfads.headers import Header
from bci_lfads.streams.connection import Connection

_FORMATS = {"float32": np.float32, "double64": np.float64}
_MOST = 1024
_NONE = np.empty(0)


class SampleInlet:
    """Rows of numbers from a stream that is found again whenever it is there.

    Parameters
    ----------
    what
        Name in messages.
    query
        LSL properties of the stream.
    accept
        Looks at a stream's header; raises StreamError to refuse it.
    max_rate
        Samples a second to size buffers for, where the stream has no rate.
    """

    def __init__(
        self,
        what: str,
        query: Mapping[str, str],
        accept: Callable[[Header], None] = lambda _: None,
        *,
        max_rate: float = 10_000.0,
        clock: Callable[[], float] = pylsl.local_clock,
    ) -> None:
        self._buffer: NDArray[Any] = np.empty((0, 0))

        def look(header: Header) -> None:
            if header.format not in _FORMATS:
                raise StreamError(
                    f"stream '{header.name}' holds {header.format}; {what} are float32 or double64"
                )
            accept(header)
            self._buffer = np.empty((_MOST, header.n_channels), _FORMATS[header.format])

        self.connection = Connection(what, query, look, max_rate=max_rate, clock=clock)

    def pull(self) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Return what has arrived; nothing while the stream is away.

        Returns
        -------
        rows, stamps
            Shape ``(n, n_channels)``, valid until the next call, and float64 ``(n,)``.
        """
        # Connecting comes first: another stream may have another number of channels.
        if not self.connection.poll():
            return self._buffer[:0], _NONE
        rows, stamps = self.connection.pull(_MOST, self._buffer)
        return (rows, stamps) if len(stamps) else (self._buffer[:0], _NONE)

    def close(self) -> None:
        """Disconnect."""
        self.connection.close()
