"""What the process of a loop asks of Python and of the operating system, once, before it serves.

All of this belongs to the process, so only commands call it, never the library.
"""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass

from bci_lfads.rig import RealtimeSettings


@dataclass(frozen=True)
class Asked:
    """Something that was asked of the system.

    Attributes
    ----------
    what
        In words.
    problem
        Why it was not granted and what to do; empty where it was.
    """

    what: str
    problem: str = ""


def settle() -> None:
    """Collect what start-up left, and take all that lives now out of later collections.

    The policy: the collector stays on, for what an error leaves behind has cycles, and memory may
    not grow with time. But with all that was allocated before frozen, it looks at what came since
    alone, which is next to nothing: a collection then takes microseconds, not milliseconds.
    """
    gc.collect()
    gc.freeze()


def schedule(settings: RealtimeSettings) -> list[Asked]:
    """Ask for what a rig's ``[realtime]`` says, for this thread and those that it starts.

    Call it before any other thread is started: each inherits it. What is not granted is returned
    with its reason, and changes nothing.
    """
    asked = []
    if settings.cpus:
        asked.append(_ask(
            f"processors {', '.join(map(str, settings.cpus))}",
            lambda: os.sched_setaffinity(0, settings.cpus),
            f"this process may use {', '.join(map(str, sorted(os.sched_getaffinity(0))))}",
        ))  # fmt: skip
    if settings.priority:
        asked.append(_ask(
            f"real-time priority {settings.priority} (SCHED_RR)",
            lambda: os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(settings.priority)),
            "give this user 'rtprio' in /etc/security/limits.conf, or the program CAP_SYS_NICE",
        ))  # fmt: skip
    return asked


def try_schedule(settings: RealtimeSettings) -> list[Asked]:
    """Return what `schedule` would, and leave this thread as it is."""
    found: list[Asked] = []
    thread = threading.Thread(target=lambda: found.extend(schedule(settings)))
    thread.start()
    thread.join()
    return found


def _ask(what: str, action: Callable[[], None], advice: str) -> Asked:
    try:
        action()
    except (OSError, ValueError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return Asked(what, f"{reason}; {advice}")
    return Asked(what)
