"""Reads a sliding window's factors and epochs of them by MNE-LSL's streams.

python mne_stream_reader.py FACTORS EVENTS N_EPOCHS: says "ready", waits for that many epochs
around the events on an irregular stream of one channel, prints JSON.
"""

import json
import sys
import time

from mne_lsl.stream import EpochsStream, StreamLSL


def main(factors: str, events: str, n_epochs: int) -> None:
    stream = StreamLSL(bufsize=20, name=factors).connect(timeout=15, processing_flags=None)
    marks = StreamLSL(bufsize=20, name=events).connect(timeout=15, processing_flags=None)
    epochs = EpochsStream(
        stream, bufsize=n_epochs, event_id={"go": 1}, event_channels=marks.ch_names[0],
        event_stream=marks, tmin=0.0, tmax=0.1, baseline=None, picks="all",
    ).connect(acquisition_delay=0.05)  # fmt: skip
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    until = time.monotonic() + 30
    while epochs.n_new_epochs < n_epochs and time.monotonic() < until:
        time.sleep(0.05)
    data = epochs.get_data(n_epochs=n_epochs)
    values, stamps = stream.get_data(picks="all")
    # On a line of its own, whatever the library has logged.
    sys.stdout.write(
        "\n"
        + json.dumps(
            {
                "labels": stream.ch_names,
                "rate": stream.info["sfreq"],
                "epochs": data.tolist(),
                "values": values.T.tolist(),
                "stamps": stamps.tolist(),
            }
        )
        + "\n"
    )
    sys.stdout.flush()
    epochs.disconnect()
    stream.disconnect()
    marks.disconnect()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
