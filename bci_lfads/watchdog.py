"""Threads that must not fail unseen, and one that looks after the others of a loop."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)


@contextmanager
def watched(
    look: Callable[[], None], stop: threading.Event, *, every: float, name: str = "watchdog"
) -> Iterator[None]:
    """Call `look` again and again, in a thread, while the context is open.

    If `look` raises, `stop` is set, and the error is raised at the end of the context, unless
    that ends with another one.

    Parameters
    ----------
    look
        What to do each time. It must not wait for what it watches.
    stop
        Ends what is watched.
    every
        Seconds between two calls.
    name
        Of the thread.
    """
    over = threading.Event()
    failures: list[BaseException] = []

    def body() -> None:
        try:
            while not over.wait(every):
                look()
        except BaseException as error:
            failures.append(error)
            stop.set()

    thread = threading.Thread(target=body, name=name)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if failures:
        raise failures[0]


def guarded(
    what: str,
    run: Callable[[threading.Event], None],
    failures: list[tuple[str, BaseException]],
    stop: threading.Event,
) -> Callable[[], None]:
    """Return a thread's body whose failure sets `stop` and is kept in `failures`, with `what`."""

    def body() -> None:
        try:
            run(stop)
        except BaseException as error:
            log.exception("%s failed", what)
            failures.append((what, error))
            stop.set()

    return body
