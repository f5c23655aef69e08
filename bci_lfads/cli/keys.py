"""Keys that control a replay from the terminal."""

from __future__ import annotations

import select
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bci_lfads.recordings.replay import ReplayControl

HELP = "space pause, . step 1 s, m step to next marker, < > seek 5 s, q quit"


@contextmanager
def keys(control: ReplayControl, position: Callable[[], float]) -> Iterator[bool]:
    """Follow keys in a thread while the context is open; yields whether there is a keyboard.

    Parameters
    ----------
    control
        The replay's.
    position
        Returns where the replay is, seconds after the recording's start.
    """
    if not sys.stdin.isatty():
        yield False
        return
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    over = threading.Event()
    thread = threading.Thread(target=_follow, args=(control, position, over), name="keys")
    try:
        tty.setcbreak(descriptor)
        thread.start()
        yield True
    finally:
        over.set()
        thread.join()
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _follow(control: ReplayControl, position: Callable[[], float], over: threading.Event) -> None:
    while not over.is_set():
        if select.select([sys.stdin], [], [], 0.1)[0]:
            press(sys.stdin.read(1), control, position())


def press(key: str, control: ReplayControl, position: float) -> None:
    """Do what a key stands for; others do nothing."""
    if key == " ":
        if control.paused:
            control.resume()
        else:
            control.pause()
    elif key == ".":
        control.step(1.0)
    elif key == "m":
        control.step_to("*")
    elif key in "<,":
        control.seek(max(0.0, position - 5.0))
    elif key == ">":
        control.seek(position + 5.0)
    elif key == "q":
        control.stop()
