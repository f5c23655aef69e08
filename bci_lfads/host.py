"""What of this machine can hold up a loop: limits of the user, and how its processors are run."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

_GOVERNORS = "devices/system/cpu/cpu*/cpufreq/scaling_governor"
_FEW_FILES = 1024  # of which each stream takes some


def limits(
    system: Path = Path("/sys"), processes: Path = Path("/proc")
) -> Iterator[tuple[str, bool, str]]:
    """Give what was looked at, whether it is well, and what was found (Linux).

    Parameters
    ----------
    system, processes
        Where the kernel tells of itself.
    """
    n = len(os.sched_getaffinity(0))
    yield ("processors", n > 1, f"{n} may be used"
           + ("" if n > 1 else "; a source, the loop and a window take turns on it"))  # fmt: skip
    most, _ = resource.getrlimit(resource.RLIMIT_RTPRIO)
    granted = os.geteuid() == 0 or most > 0
    yield ("priority", granted, "real-time priority may be asked for ([realtime] priority)"
           if granted else "this user may have no real-time priority; it takes 'rtprio' in "
           "/etc/security/limits.conf")  # fmt: skip
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield "open files", files >= _FEW_FILES, f"{files} at most"
    if governors := {_text(f) for f in system.glob(_GOVERNORS)}:
        slow = sorted(governors - {"performance"})
        yield ("clock rate", not slow, "performance" if not slow else f"governor {', '.join(slow)}:"
               " a processor that slept starts slowly; choose 'performance'")  # fmt: skip
    swap = _text(processes / "swaps").splitlines()[1:]
    yield ("swap", not swap, "none" if not swap else "on: memory of a loop that waits may be moved "
           "to the disk; swapoff -a while recording")  # fmt: skip


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
