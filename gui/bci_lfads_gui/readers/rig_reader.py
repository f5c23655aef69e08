"""One thread that reads all streams of a rig into a `Store`."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import pylsl
from numpy.typing import NDArray

from bci_lfads.about import About, read_about
from bci_lfads.errors import StreamError
from bci_lfads.headers import Header
from bci_lfads_gui.model.run_state import parse
from bci_lfads_gui.model.store import OnNetwork, Series, Store
from bci_lfads_gui.readers.behaviour import ROLES, BehaviourReader
from bci_lfads_gui.readers.taps import Accountant, MarkerTap, SampleTap, SpikeTap, Tap

log = logging.getLogger(__name__)

_PAUSE = 0.01  # seconds between two looks at all streams
_ACCOUNT = 0.25  # seconds between two accounts of how they do
_AHEAD = 1.0  # seconds that a spike's stamp may be in the future
_BACK = 2.0  # seconds that stamps of a source's own clock may step back


class RigReader:
    """Watches a rig: its input streams, and what its loop publishes.

    All that a thread gets from LSL goes into the store's rings, which have a fixed size: when
    one is full the oldest is overwritten. LSL's own buffers are bounded too, and drop the oldest.

    Parameters
    ----------
    store
        Where things go.
    expected
        What would run, from a rig file; None to go by what the running loop says of itself.
    spikes
        LSL properties of a spike stream to watch instead of the rig's.
    """

    def __init__(
        self, store: Store, expected: About | None = None, spikes: Mapping[str, str] | None = None
    ) -> None:
        self._store, self._picked = store, spikes
        self._over = threading.Event()
        self._accountant = Accountant()
        self._said: About | None = None
        self._taps: dict[str, Tap] = {}
        self._behaviour = BehaviourReader(store, self._taps)
        self._thread = threading.Thread(target=self._body, name=f"reader of {store.rig}")
        if expected is not None:
            store.begin_run(expected)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and let go of all streams."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def compare_with(self, stream: OnNetwork) -> None:
        """Compare what is decoded with this stream."""
        self._behaviour.compare_with(stream)

    def _body(self) -> None:
        try:
            self._open()
            next_account = 0.0
            while not self._over.wait(_PAUSE):
                now = pylsl.local_clock()
                for tap in tuple(self._taps.values()):
                    tap.read(now)
                with self._store.lock:
                    if self._store.spikes is not None and self._store.lsl_time:
                        self._store.spikes.advance(now)
                if now >= next_account:
                    next_account = now + _ACCOUNT
                    self._behaviour.look()
                    self._account(now)
                if self._said is not None:
                    about, self._said = self._said, None
                    self._follow(about)
        except Exception as error:
            log.exception("reading stopped")
            with self._store.lock:
                self._store.problem = f"the window's reader failed: {error!r}; attach again"
        finally:
            for tap in self._taps.values():
                tap.connection.close()
            self._taps.clear()

    # Connecting

    def _open(self) -> None:
        rig = self._store.rig
        self._taps["status"] = SampleTap(
            "status", {"name": f"{rig} Status"}, self._accept_status, self._take_status,
            required=True,
        )  # fmt: skip
        self._taps["latency"] = SampleTap(
            "latency", {"name": f"{rig} Latency"}, self._accept_latency, self._take_latency,
            required=True,
        )  # fmt: skip
        if self._store.about is not None:
            self._open_inputs(self._store.about)

    def _open_inputs(self, about: About) -> None:
        """Connect what depends on the rig's settings, anew where they changed."""
        for role in ("spikes", "markers", "factors", "rates"):
            if (tap := self._taps.pop(role, None)) is not None:
                tap.connection.close()
        rig, trials = about.rig, about.hop is None
        self._taps["spikes"] = SpikeTap(about, self._begin_spikes, self._take_spikes, self._picked)
        if rig.input.markers is not None:
            query = rig.input.markers.properties()
            self._taps["markers"] = MarkerTap(query, self._take_marker, required=trials)
        self._taps["factors"] = SampleTap(
            "factors", {"name": f"{rig.name} {'TrialFactors' if trials else 'Factors'}"},
            lambda header: self._accept_series(header, "factors"),
            lambda *chunk: self._take_series("factors", *chunk),
            required=True, max_rate=20_000.0,
        )  # fmt: skip
        if rig.output.rates:
            self._taps["rates"] = SampleTap(
                "rates", {"name": f"{rig.name} Rates"},
                lambda header: self._accept_series(header, "rates"),
                lambda *chunk: self._take_series("rates", *chunk),
                required=False, max_rate=20_000.0,
            )  # fmt: skip
        self._behaviour.open()

    def _follow(self, about: About) -> None:
        """Take over what the loop says of itself, where it is not what was known."""
        known = self._store.about
        self._store.begin_run(about)
        changed = known is None or _streams(known) != _streams(about)
        if changed or "spikes" not in self._taps:
            self._open_inputs(about)

    # Headers; each is called within the connection's `poll`

    def _accept_status(self, header: Header) -> None:
        with self._store.lock:
            self._store.loop_host = header.info.findtext("hostname") or ""
            self._store.loop_here = self._store.loop_host == socket.gethostname()
            self._store.engine = header.text("engine/name"), header.text("engine/number_format")
            self._store.message = None
        try:
            self._said = read_about(header)
        except StreamError as error:
            with self._store.lock:
                self._store.problem = str(error)

    def _accept_latency(self, header: Header) -> None:
        if header.n_channels != 5:
            raise StreamError(f"stream '{header.name}' has {header.n_channels} channels, not 5")
        with self._store.lock:
            self._store.latency.clear()

    def _accept_series(self, header: Header, which: str) -> None:
        about = self._store.about
        if about is None:
            raise StreamError("what runs is not known yet")
        trials = about.hop is None
        labels = header.labels[:-2] if trials else header.labels
        if not labels:
            raise StreamError(f"stream '{header.name}' does not label its channels")
        with self._store.lock:
            series: Series | None = getattr(self._store, which)
            if series is None or series.labels != labels:
                setattr(self._store, which, Series.of(labels, about))

    # Samples

    def _begin_spikes(self) -> None:
        with self._store.lock:
            if self._store.spikes is not None:
                self._store.spikes.begin()

    def _take_spikes(
        self, times: NDArray[np.float64], units: NDArray[np.int32], counts: NDArray[np.int32]
    ) -> None:
        with self._store.lock:
            spikes = self._store.spikes
            if spikes is None or not len(times):
                return
            if self._store.lsl_time:
                # A stamp far ahead would push all others out of the picture.
                kept = times < pylsl.local_clock() + _AHEAD
                times, units, counts = times[kept], units[kept], counts[kept]
            elif float(np.max(times)) < spikes.raster.end - _BACK:
                spikes.clear()  # a replay that was begun again on its own clock
            spikes.add(times, units, counts)

    def _take_marker(self, time: float, label: str) -> None:
        with self._store.lock:
            self._store.markers.append((time, label))

    def _take_status(self, samples: Any, _stamps: NDArray[np.float64], now: float) -> None:
        for row in samples:
            if (message := parse(row[0])) is not None:
                self._store.take_message(message, now)

    def _take_latency(self, samples: Any, stamps: NDArray[np.float64], now: float) -> None:
        rows = np.empty((len(stamps), 6))
        rows[:, :5], rows[:, 5] = samples, now
        # Moments are on the loop's clock, stamps were moved to this machine's.
        rows[:, :5] += self._taps["latency"].connection.correction
        with self._store.lock:
            self._store.latency.extend(stamps, rows)

    def _take_series(
        self, which: str, samples: Any, stamps: NDArray[np.float64], _now: float
    ) -> None:
        with self._store.lock:
            series: Series | None = getattr(self._store, which)
            if series is not None:
                series.add(stamps, samples)

    # How they do

    def _account(self, now: float) -> None:
        message = self._store.message
        of_spikes = {
            name: message.count("spikes", name) if message else 0
            for name in ("received", "late", "unknown", "saturated", "invalid", "overwritten")
        }
        facts = {
            role: self._accountant.facts(tap, of_spikes if role == "spikes" else {}, now)
            for role, tap in self._taps.items()
            if tap.required or tap.connection.state == "open" or role not in ROLES
        }
        spikes = self._taps.get("spikes")
        with self._store.lock:
            self._store.streams = facts
            self._store.status_open = self._taps["status"].connection.state == "open"
            clock = self._store.about.rig.input.spikes.clock if self._store.about else "auto"
            if clock != "auto":
                self._store.lsl_time = clock == "lsl"
            elif isinstance(spikes, SpikeTap) and spikes.connection.state == "open":
                self._store.lsl_time = not spikes.on_stream_clock


def _streams(about: About) -> tuple[object, ...]:
    """Return what decides on which streams are read, and how."""
    rig = about.rig
    return rig.name, rig.input, rig.window, rig.output, about.unit_labels, about.n_bins
