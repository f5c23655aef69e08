"""Ending in good order."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

_T = TypeVar("_T")


def in_thread(action: Callable[[], _T]) -> _T:
    """Return what `action` returns, or raise what it raises, having run it in another thread.

    So the main thread, the only one in which Python handles signals, is free to, even while the
    other is held up in compiled code.
    """
    results: list[_T] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            results.append(action())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=body, name="loop")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


@contextmanager
def until_interrupted(
    seconds: float | None = None, on_stop: Callable[[], None] | None = None
) -> Iterator[threading.Event]:
    """Give an event that Ctrl-C, a TERM signal or the time sets.

    Parameters
    ----------
    seconds
        After which it is set anyway.
    on_stop
        Called by a signal too, in the main thread.
    """
    stop = threading.Event()

    def end(*_: object) -> None:
        stop.set()
        if on_stop is not None:
            on_stop()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    timer = threading.Timer(seconds, stop.set) if seconds is not None else None
    if timer is not None:
        timer.daemon = True
        timer.start()
    try:
        yield stop
    finally:
        if timer is not None:
            timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


def until_end_of_input(stop: threading.Event) -> None:
    """Wait for standard input to end, as it does with the process that holds its other side."""
    while os.read(sys.stdin.fileno(), 4096):
        pass
    stop.set()
