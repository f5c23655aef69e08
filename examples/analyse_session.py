"""A recorded session, analysed with pyxdf and NumPy alone.

    python examples/analyse_session.py session.xdf out.png

Draws the mean factors of the trials by their label, and how long factors took.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict

import matplotlib.pyplot as plt
import numpy as np
import pyxdf


def main(session: str, picture: str) -> None:
    streams, _ = pyxdf.load_xdf(session, dejitter_timestamps=False)
    by_word = {s["info"]["source_id"][0].rsplit(":", 1)[-1]: s for s in streams}
    factors, latency = by_word["TrialFactors"], by_word["Latency"]
    desc = factors["info"]["desc"][0]
    width = float(desc["bin_width"][0])
    # Status says what each trial was.
    messages = [json.loads(row[0]) for row in by_word["Status"]["time_series"]]
    labels = {m["trial"]["trial"]: m["trial"]["label"] for m in messages if "trial" in m}
    trials = defaultdict(list)
    rows = np.asarray(factors["time_series"])
    for number in np.unique(rows[:, -2]).astype(int):
        trials[labels.get(number, "?")].append(rows[rows[:, -2] == number, :-2])
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    for label, some in sorted(trials.items()):
        mean = np.mean(some, axis=0)
        axes[0].plot(width * (np.arange(len(mean)) + 0.5), mean, label=f"{label} ({len(some)})")
    axes[0].set(xlabel="time in trial [s]", ylabel="factors [a.u.]", title="mean over trials")
    if len(trials) <= 8:
        handles = {line.get_label(): line for line in axes[0].lines}
        axes[0].legend(handles.values(), handles.keys(), fontsize="small")
    # Columns: last spike, closed, submitted, done, pushed; stamped with the window's end.
    moments = np.asarray(latency["time_series"])
    axes[1].hist(1e3 * (moments[:, 4] - moments[:, 1]), bins=30)
    axes[1].set(xlabel="window closed to factors pushed [ms]", ylabel="windows")
    figure.savefig(picture, dpi=120)


if __name__ == "__main__":
    main(*sys.argv[1:])
