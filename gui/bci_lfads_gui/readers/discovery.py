"""One thread that knows what is on the network."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pylsl

from bci_lfads_gui.model.store import OnNetwork

_EVERY = 1.0  # seconds
_FORGET = 3.0  # seconds after which a stream that answers no more is taken off the list
_MOST = 200


class Discovery:
    """Lists all streams by their announcements; it connects to none of them.

    Parameters
    ----------
    on_change
        Called from the thread with the streams, whenever they changed.
    """

    def __init__(self, on_change: Callable[[tuple[OnNetwork, ...]], None]) -> None:
        self._on_change = on_change
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._body, name="discovery")

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def _body(self) -> None:
        resolver = pylsl.ContinuousResolver(forget_after=_FORGET)
        before: tuple[OnNetwork, ...] | None = None
        while not self._over.wait(_EVERY):
            found = tuple(
                sorted(
                    (
                        OnNetwork(
                            i.name(), i.type(), i.source_id(), i.hostname(), i.uid(),
                            i.channel_count(), i.nominal_srate(),
                        )
                        for i in resolver.results()[:_MOST]
                    ),
                    key=lambda s: (s.name, s.hostname, s.uid),
                )
            )  # fmt: skip
            if found != before:
                before = found
                self._on_change(found)


def running_rigs(found: tuple[OnNetwork, ...]) -> list[str]:
    """Return the names of the rigs whose loops are on the network."""
    head, tail = "bci-lfads:", ":Status"
    ids = {s.source_id for s in found}
    return sorted(i[len(head) : -len(tail)] for i in ids if i.startswith(head) and i.endswith(tail))
