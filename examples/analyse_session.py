"""A recorded session, analysed with pyxdf and NumPy alone.

    python examples/analyse_session.py session.xdf out.png

Draws the mean factors of the trials by their label, or the last seconds of a sliding window's, and
how long factors took.
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
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    if "TrialFactors" in by_word:
        draw_trials(axes[0], by_word["TrialFactors"], by_word["Status"])
    else:
        draw_newest(axes[0], by_word["Factors"], 10.0)
    # Columns: last spike, closed, submitted, done, pushed; stamped with the window's end.
    moments = np.asarray(by_word["Latency"]["time_series"])
    took = 1e3 * (moments[:, 4] - moments[:, 1])
    axes[1].hist(took[took <= np.quantile(took, 0.99)], bins=30)
    axes[1].set(title="latency, to its 99th percentile", ylabel="windows")
    axes[1].set(xlabel="window closed to factors pushed [ms]")
    figure.savefig(picture, dpi=120)


def draw_trials(axes: plt.Axes, factors: dict, status: dict) -> None:
    width = float(factors["info"]["desc"][0]["bin_width"][0])
    # Status says what each trial was.
    messages = [json.loads(row[0]) for row in status["time_series"]]
    labels = {m["trial"]["trial"]: m["trial"]["label"] for m in messages if "trial" in m}
    trials = defaultdict(list)
    rows = np.asarray(factors["time_series"])
    for number in np.unique(rows[:, -2]).astype(int):
        trials[labels.get(number, "?")].append(rows[rows[:, -2] == number, :-2])
    for label, some in sorted(trials.items()):
        mean = np.mean(some, axis=0)
        axes.plot(width * (np.arange(len(mean)) + 0.5), mean, label=f"{label} ({len(some)})")
    axes.set(xlabel="time in trial [s]", ylabel="factors [a.u.]", title="mean over trials")
    if len(trials) <= 8:
        handles = {line.get_label(): line for line in axes.lines}
        axes.legend(handles.values(), handles.keys(), fontsize="small")


def draw_newest(axes: plt.Axes, factors: dict, seconds: float) -> None:
    stamps = factors["time_stamps"] - factors["time_stamps"][-1]
    newest = stamps > -seconds
    axes.plot(stamps[newest], np.asarray(factors["time_series"])[newest])
    axes.set(xlabel="time before the end [s]", ylabel="factors [a.u.]", title="sliding window")


if __name__ == "__main__":
    main(*sys.argv[1:])
