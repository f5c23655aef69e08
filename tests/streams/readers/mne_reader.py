"""Reads streams with MNE-LSL, which loads an LSL library of its own.

python mne_reader.py NAME=N ...: says "ready", reads N samples of each stream, prints JSON.
"""

import json
import sys
import time

import numpy as np
from mne_lsl.lsl import StreamInlet, resolve_streams


def main(*wanted: str) -> None:
    inlets = {}
    for name, _, n in (w.rpartition("=") for w in wanted):
        (info,) = resolve_streams(10.0, name=name)
        inlets[name] = StreamInlet(info), int(n)
        inlets[name][0].open_stream(10.0)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    told = {}
    for name, (inlet, n) in inlets.items():
        info = inlet.get_sinfo(10.0)
        samples, stamps = [], []
        until = time.monotonic() + 10.0
        while len(stamps) < n and time.monotonic() < until:
            some, when = inlet.pull_chunk(0.05)
            samples += [list(row) if info.dtype == "string" else row.tolist() for row in some]
            stamps += when.tolist()
        told[name] = {
            "type": info.stype, "rate": info.sfreq, "format": str(np.dtype(info.dtype))
            if info.dtype != "string" else "string", "labels": info.get_channel_names(),
            "units": info.get_channel_units(), "source_id": info.source_id,
            "samples": samples, "stamps": stamps,
        }  # fmt: skip
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
