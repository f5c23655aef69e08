"""What a soak measured, and whether it is well."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bci_lfads.soak.load import Load

LONG = 1200.0
"""Seconds from which on a soak is judged for what drifts; in a shorter one that is only told."""
_TENTHS = 600.0
_EDGES = np.concatenate([[0.0], 2.0 ** np.arange(-4, 12), [np.inf]])  # milliseconds


@dataclass(frozen=True)
class Measured:
    """What came of a soak.

    Attributes
    ----------
    pushed
        Spikes that the source pushed.
    late
        By how much it pushed them late, at worst, seconds.
    status
        The loop's last message on Status.
    ended
        Exit status of the loop's process.
    stamps
        Of all factors that were received, float64, shape ``(n_bins,)``.
    ends, closed, pushed_at
        Of each window: its end, when it was closed, and when its factors were pushed; LSL clock,
        float64, shape ``(n_windows,)``.
    memory
        Resident bytes of the loop's process, once a second, shape ``(n_seconds,)``.
    busy
        The machine's load average over a minute, once a second, shape ``(n_seconds,)``.
    """

    pushed: int
    late: float
    status: dict[str, Any]
    ended: int
    stamps: NDArray[np.float64]
    ends: NDArray[np.float64]
    closed: NDArray[np.float64]
    pushed_at: NDArray[np.float64]
    memory: NDArray[np.int64]
    busy: NDArray[np.float64]


@dataclass(frozen=True)
class Check:
    """One thing that should hold; ``note`` where the soak was too short to tell."""

    what: str
    verdict: Literal["ok", "note", "fail"]
    found: str


def checks(load: Load, m: Measured) -> list[Check]:
    """Judge what was measured."""
    counters = m.status["counters"]
    spikes = counters["spikes"]
    lost = {k: n for k, n in spikes.items() if k not in ("received", "kept", "unordered") and n}
    steps = np.diff(m.stamps)
    gaps = int(np.count_nonzero(np.abs(steps - load.bin_width) > 1e-6))
    long = load.seconds >= LONG
    part = min(_TENTHS, load.seconds / 3)
    first, last = (_p99(m, part, end=end) for end in (False, True))
    grown = _growth(m.memory, int(part))

    def told(what: str, well: bool, found: str, judged: bool = True) -> Check:
        return Check(what, "ok" if well else "fail" if judged else "note", found)

    return [
        told("loop", m.ended == 0 and m.status["cause"] == "asked", f"exit status {m.ended}, "
             f"{m.status['state']}: {m.status['reason']}"),
        told("spikes", spikes["received"] == spikes["kept"] == m.pushed and not lost,
             f"{m.pushed} pushed, {spikes['received']} received, {spikes['kept']} in bins"
             + "".join(f", {n} {k}" for k, n in lost.items())),
        told("windows", counters["dropped"] == 0 and counters["engine_errors"] == 0
             and counters["windows"] == len(m.ends) > 0,
             f"{counters['windows']} published, {len(m.ends)} received, "
             f"{counters['dropped']} dropped, {counters['engine_errors']} failed"),
        told("bins", gaps == 0, f"{len(m.stamps)} received, {gaps} gaps"),
        told("memory", abs(grown) <= 0.01,
             f"{100 * grown:+.2f} % from the first {part:.0f} s to the last; "
             f"{m.memory.max(initial=0) / 1e6:.0f} MB at most", judged=long),
        told("latency", abs(last / first - 1) <= 0.1,
             f"window's end to pushed, p99: {1e3 * first:.2f} ms in the first {part:.0f} s, "
             f"{1e3 * last:.2f} ms in the last", judged=long),
        told("source", m.late < load.hold_off, f"pushed spikes {1e3 * m.late:.1f} ms late at worst",
             judged=False),
    ]  # fmt: skip


def histogram(seconds: NDArray[np.float64]) -> list[tuple[str, int]]:
    """Return how many of some durations fall between powers of two of milliseconds."""
    counts, _ = np.histogram(1e3 * np.maximum(seconds, 0.0), _EDGES)
    used = np.flatnonzero(counts)
    if not len(used):
        return []
    rows = range(used[0], used[-1] + 1)
    return [(f"{_EDGES[k]:g} to {_EDGES[k + 1]:g} ms", int(counts[k])) for k in rows]


def jitter(load: Load, m: Measured) -> dict[str, list[tuple[str, int]]]:
    """Return the histograms: of waking up for a window, and of what is done with it then."""
    return {
        "closed after it was due": histogram(m.closed - m.ends - load.hold_off),
        "pushed after it was closed": histogram(m.pushed_at - m.closed),
    }


def machine(m: Measured) -> dict[str, object]:
    """Return what the soak ran on, and how busy that was, ready for JSON."""
    policy = {os.SCHED_RR: "SCHED_RR", os.SCHED_FIFO: "SCHED_FIFO"}.get(os.sched_getscheduler(0))
    return {
        "processors": len(os.sched_getaffinity(0)),
        "real_time_priority": policy and f"{policy} {os.sched_getparam(0).sched_priority}",
        "nice": os.nice(0),
        "load_average": {
            what: round(float(of(m.busy)), 1) if len(m.busy) else None
            for what, of in (("least", np.min), ("median", np.median), ("most", np.max))
        },
    }


def _p99(m: Measured, part: float, *, end: bool) -> float:
    if not len(m.ends):
        return math.nan
    of = m.ends > m.ends[-1] - part if end else m.ends < m.ends[0] + part
    return float(np.quantile((m.pushed_at - m.ends)[of], 0.99))


def _growth(memory: NDArray[np.int64], part: int) -> float:
    if len(memory) < 3:
        return math.nan
    part = max(1, min(part, len(memory) // 3))
    return float(np.median(memory[-part:]) / np.median(memory[:part]) - 1)
