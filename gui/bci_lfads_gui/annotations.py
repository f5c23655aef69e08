"""What the operator writes, as markers on LSL."""

from __future__ import annotations

import pylsl

from bci_lfads.streams.sources import MarkerSource

LONGEST = 500
"""Characters of an annotation."""


class Annotator:
    """The stream ``<rig> Annotations``: text, irregular, stamped when it was entered.

    Parameters
    ----------
    rig
        The rig's name.
    """

    def __init__(self, rig: str) -> None:
        self.name = f"{rig} Annotations"
        self._source: MarkerSource | None = MarkerSource(
            self.name, source_id=f"bci-lfads:{rig}:Annotations"
        )

    def push(self, text: str) -> float | None:
        """Publish a text and return its stamp; None where nothing was to be said."""
        text = " ".join(text.split())[:LONGEST]
        if not text or self._source is None:
            return None
        now = float(pylsl.local_clock())
        self._source.push(now, text)
        return now

    def close(self) -> None:
        """Withdraw the stream."""
        if self._source is not None:
            self._source.close()
            self._source = None
