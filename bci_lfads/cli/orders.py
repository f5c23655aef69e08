"""Orders on standard input, for programs that run a command: to a replay, or to a trigger."""

from __future__ import annotations

import logging
import os
import select
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bci_lfads.recordings.replay import ReplayControl

HELP = "pause, resume, step SECONDS, step-to PATTERN, seek SECONDS, stop"
_LONGEST = 4096  # bytes of a line
_log = logging.getLogger(__name__)


@contextmanager
def orders(control: ReplayControl) -> Iterator[None]:
    """Follow a replay's orders on standard input while the context is open.

    The end of the input is an order to stop: a replay does not outlive the program that ordered it.
    """
    with lines(lambda line: obey(line, control), control.stop):
        yield


@contextmanager
def lines(follow: Callable[[str], None], at_end: Callable[[], None]) -> Iterator[None]:
    """Follow lines on standard input, in a thread, while the context is open.

    Parameters
    ----------
    follow
        Called with each line; a ValueError says what is wrong with it.
    at_end
        Called at the end of the input.
    """
    over = threading.Event()
    thread = threading.Thread(
        target=_follow, args=(sys.stdin.fileno(), follow, at_end, over), name="orders"
    )
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _follow(
    descriptor: int,
    follow: Callable[[str], None],
    at_end: Callable[[], None],
    over: threading.Event,
) -> None:
    waiting = b""
    while not over.is_set():
        if not select.select([descriptor], [], [], 0.1)[0]:
            continue
        came = os.read(descriptor, _LONGEST)
        if not came:
            at_end()
            return
        *came_lines, waiting = (waiting + came).split(b"\n")
        waiting = waiting[-_LONGEST:]
        for line in came_lines:
            _try(line.decode("utf-8", "replace"), follow)


def _try(line: str, follow: Callable[[str], None]) -> None:
    try:
        follow(line)
    except ValueError as error:
        _log.warning("order '%s' is not understood: %s", line, error)


def obey(line: str, control: ReplayControl) -> None:
    """Do what one line says; an empty one says nothing.

    Raises
    ------
    ValueError
        Naming the orders there are.
    """
    word, _, rest = line.strip().partition(" ")
    plain: dict[str, Callable[[], None]] = {
        "pause": control.pause, "resume": control.resume, "stop": control.stop,
    }  # fmt: skip
    if word in plain and not rest:
        plain[word]()
    elif word == "step":
        control.step(float(rest))
    elif word == "step-to":
        control.step_to(rest or "*")
    elif word == "seek":
        control.seek(max(0.0, float(rest)))
    elif word:
        raise ValueError(f"there are {HELP}")
