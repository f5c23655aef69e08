"""Reads what a decoder publishes, and the stream that it is compared with."""

from __future__ import annotations

import math
from typing import Any

from numpy.typing import NDArray

from bci_lfads.errors import StreamError
from bci_lfads.headers import Header
from bci_lfads_gui.model.ring import Ring
from bci_lfads_gui.model.store import SLIDING_KEPT, OnNetwork, Series, Store
from bci_lfads_gui.readers.taps import SampleTap, Tap

ROLES = ("decoded", "behaviour")
"""Not missed where they are not."""
_IRREGULAR = 1000.0  # rows a second to keep of behaviour that has no rate
_MOST_ROWS = 60_000
_WHERE = ("trial", "bin")


class BehaviourReader:
    """Keeps the taps ``decoded`` and ``behaviour``; used by the reader's thread alone.

    The true behaviour is, in this order: what the operator chose; the rig's own ``R Cursor``;
    the only other stream of type Behaviour on the network.

    Parameters
    ----------
    store
        Where things go.
    taps
        All taps of the reader, by their role.
    """

    def __init__(self, store: Store, taps: dict[str, Tap]) -> None:
        self._store, self._taps = store, taps
        self._chosen: OnNetwork | None = None
        self._compared: OnNetwork | None = None

    def open(self) -> None:
        """Look for a decoder, anew where one was found."""
        for role in ROLES:
            if (tap := self._taps.pop(role, None)) is not None:
                tap.connection.close()
        self._compared = None
        self._taps["decoded"] = SampleTap(
            "decoded", {"name": f"{self._store.rig} DecodedBehaviour"}, self._accept_decoded,
            self._take_decoded, required=False, max_rate=20_000.0,
        )  # fmt: skip

    def compare_with(self, stream: OnNetwork) -> None:
        """Compare what is decoded with this stream; may be called from another thread."""
        self._chosen = stream

    def look(self) -> None:
        """Connect to the true behaviour, once a decoder runs and it is plain which that is."""
        store = self._store
        if store.decoded is None:
            return
        wanted = self._chosen or _plain(store)
        if wanted is None or wanted == self._compared:
            return
        if (tap := self._taps.pop("behaviour", None)) is not None:
            tap.connection.close()
        with store.lock:
            store.truth = None
        self._taps["behaviour"] = SampleTap(
            "behaviour", wanted.properties(), self._accept_truth, self._take_truth,
            required=False, max_rate=max(1000.0, wanted.rate),
        )  # fmt: skip
        self._compared = wanted

    def _accept_decoded(self, header: Header) -> None:
        labels = header.labels or tuple(f"channel {k}" for k in range(header.n_channels))
        in_trials = labels[-2:] == _WHERE
        labels = labels[:-2] if in_trials else labels
        if not labels:
            raise StreamError(f"stream '{header.name}' has no channel of behaviour")
        about = self._store.about
        if in_trials and (about is None or about.hop is not None):
            raise StreamError("it decodes trials, and no rig that runs in trials is known yet")
        with self._store.lock:
            known = self._store.decoded
            if known is None or known.labels != labels or (known.trials is None) == in_trials:
                known = (
                    Series.of(labels, about)
                    if in_trials and about is not None
                    else _rows(labels, header.rate)
                )
                self._store.decoded = known
            known.lag = _number(header.text("decoder/lag"))

    def _accept_truth(self, header: Header) -> None:
        with self._store.lock:
            decoded = self._store.decoded
            wanted = decoded.labels if decoded else ()
            if not set(wanted) & set(header.labels):
                raise StreamError(
                    f"'{header.name}' has no channel of those that are decoded, {', '.join(wanted)}"
                )
            self._store.truth = _rows(header.labels, header.rate)

    def _take_decoded(self, samples: Any, stamps: NDArray[Any], _now: float) -> None:
        with self._store.lock:
            if self._store.decoded is not None:
                self._store.decoded.add(stamps, samples)

    def _take_truth(self, samples: Any, stamps: NDArray[Any], _now: float) -> None:
        with self._store.lock:
            if self._store.truth is not None:
                self._store.truth.add(stamps, samples)


def is_truth(stream: OnNetwork, rig: str) -> bool:
    """Return whether a stream may have the true behaviour."""
    return stream.type == "Behaviour" and stream.name != f"{rig} DecodedBehaviour"


def _plain(store: Store) -> OnNetwork | None:
    others = [s for s in store.found if is_truth(s, store.rig)]
    own = [s for s in others if s.name == f"{store.rig} Cursor"]
    found = own or others
    return found[0] if len(found) == 1 else None


def _rows(labels: tuple[str, ...], rate: float) -> Series:
    kept = min(_MOST_ROWS, math.ceil(SLIDING_KEPT * (rate or _IRREGULAR)))
    return Series(labels, rows=Ring(kept, len(labels)))


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if math.isfinite(value) else 0.0
