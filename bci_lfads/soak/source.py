"""Poisson spikes on LSL: ``python -m bci_lfads.soak.source NAME LOAD``, the load as JSON.

Begins when standard input ends. Prints one line of JSON at the end: how many spikes
were pushed, and how late they were at worst.
"""

from __future__ import annotations

import json
import signal
import sys
import time

import numpy as np
import pylsl

from bci_lfads.soak.load import Load
from bci_lfads.streams.sources import SpikeSource

_SLICE = 0.002  # seconds of spikes that are pushed together
_LAST = 0.5  # seconds for the last spikes to be taken before the stream is withdrawn


def main(name: str, load: Load) -> dict[str, float]:
    """Push spikes as they fall due; return what was done."""
    over: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: over.append(number))
    labels = [f"u{k}" for k in range(load.n_units)]
    total = load.n_units * load.rate
    source = SpikeSource(f"{name} S", labels, max_rate=2 * total)
    rng = np.random.default_rng(load.seed)
    n_spikes, late = 0, 0.0
    sys.stdin.read()
    if not over:
        begin = pylsl.local_clock()
        for k in range(round(load.seconds / _SLICE)):
            due = begin + (k + 1) * _SLICE
            n = int(rng.poisson(total * _SLICE))
            times = np.sort(rng.random(n)) * _SLICE + (due - _SLICE)
            units = rng.integers(0, load.n_units, n, dtype=np.int32)
            if (left := due - pylsl.local_clock()) > 0:
                time.sleep(left)
            source.push(times, units)
            n_spikes += n
            late = max(late, pylsl.local_clock() - due)
            if over:
                break
        time.sleep(_LAST)
    source.close()
    return {"spikes": n_spikes, "late": late}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1], Load(**json.loads(sys.argv[2])))) + "\n")
