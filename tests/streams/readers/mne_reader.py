"""Reads streams with MNE-LSL, which loads an LSL library of its own.

python mne_reader.py NAME=N ...: says "ready", reads N samples of each stream, prints JSON.
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from mne_lsl.lsl import StreamInlet, resolve_streams

_PATIENCE = 15.0


def opened(name: str) -> StreamInlet:
    (info,) = resolve_streams(_PATIENCE, name=name)
    inlet = StreamInlet(info)
    inlet.open_stream(_PATIENCE)
    return inlet


def read(inlet: StreamInlet, n: int) -> dict[str, Any]:
    """Return what MNE-LSL makes of a stream."""
    info = inlet.get_sinfo(_PATIENCE)
    samples: list[list[Any]] = []
    stamps: list[float] = []
    until = time.monotonic() + _PATIENCE
    while len(stamps) < n and time.monotonic() < until:
        some, when = inlet.pull_chunk(0.05)
        samples += some.tolist() if isinstance(some, np.ndarray) else some
        stamps += when.tolist()
    return {
        "type": info.stype,
        "rate": info.sfreq,
        "format": info.dtype if isinstance(info.dtype, str) else np.dtype(info.dtype).name,
        "source_id": info.source_id,
        "labels": info.get_channel_names(),
        "mne_labels": list(info.get_channel_info().ch_names),
        "samples": samples,
        "stamps": stamps,
    }


def main(wanted: dict[str, int]) -> None:
    with ThreadPoolExecutor(len(wanted)) as pool:
        inlets = dict(zip(wanted, pool.map(opened, wanted), strict=True))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdout.write(json.dumps({name: read(inlets[name], n) for name, n in wanted.items()}))


if __name__ == "__main__":
    main({name: int(n) for name, _, n in (w.rpartition("=") for w in sys.argv[1:])})
