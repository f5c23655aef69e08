"""A consumer of its own: nothing but pylsl. Writes what it received of one stream to an .npz.

python reader.py STREAM_NAME OUT.npz: reads until a line comes on standard input.
"""

import sys
import threading

import numpy as np
import pylsl


def main(name: str, out: str) -> None:
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), over.set()), daemon=True).start()
    found = pylsl.resolve_byprop("name", name, 1, 60.0)
    inlet = pylsl.StreamInlet(found[0], 360)
    inlet.open_stream(10.0)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    samples, stamps = [], []
    while True:
        ending = over.is_set()
        chunk, times = inlet.pull_chunk(0.05, 4096, as_numpy=True)
        samples.append(np.array(chunk).reshape(-1, inlet.channel_count))
        stamps.append(times)
        if ending and not len(times):
            break
    np.savez(out, samples=np.concatenate(samples), stamps=np.concatenate(stamps))


if __name__ == "__main__":
    main(*sys.argv[1:])
