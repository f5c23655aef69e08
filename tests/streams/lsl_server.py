"""Serves one LSL stream from a process of its own; told on standard input what to push.

The first argument is JSON: name, type, source_id, form, labels, rate, desc. Each line that comes
is JSON too: rows (with text as hexadecimal bytes) and their stamps. Each is answered by a line.
"""

import json
import sys

import numpy as np
import pylsl

from bci_lfads.streams.metadata import stream_info


def main() -> None:
    asked = json.loads(sys.argv[1])
    info = stream_info(
        asked["name"], asked["type"], source_id=asked["source_id"], labels=asked["labels"],
        rate=asked["rate"], form=asked["form"], desc=asked["desc"],
    )  # fmt: skip
    outlet = pylsl.StreamOutlet(info)
    print("ready", flush=True)  # noqa: T201
    for line in sys.stdin:
        rows, stamps = json.loads(line)
        if asked["form"] == "string":
            for (text,), stamp in zip(rows, stamps, strict=True):
                outlet.push_sample([bytes.fromhex(text)], stamp)
        else:
            kind = "float64" if asked["form"] == "double64" else asked["form"]
            outlet.push_chunk(np.array(rows, kind).reshape(len(rows), -1), stamps)
        print("pushed", flush=True)  # noqa: T201


main()
