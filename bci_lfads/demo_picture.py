"""The demo's picture: what went in, what came out, how true and how fast it was."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from bci_lfads.demo import DemoResult

_TRUE, _OURS = "0.55", "#c1440e"


def draw(result: DemoResult, path: Path) -> None:
    """Draw the demo's picture to a file.

    Parameters
    ----------
    result
        What the demo did.
    path
        ``.png``, ``.pdf`` or ``.svg``.
    """
    figure = Figure(figsize=(14, 8), layout="constrained")
    axes = figure.subplots(2, 3)
    trials = sorted(t for t in result.streamed if t in result.batch.trials)
    shown = trials[len(trials) // 2]
    _counts(axes[0, 0], result, shown)
    _factors(axes[0, 1], result, shown)
    _latents(axes[0, 2], result, trials.index(shown))
    _trajectories(axes[1, 0], result)
    _accuracy(axes[1, 1], result)
    _latency(axes[1, 2], result)
    figure.suptitle(
        f"{result.recording.name}: {len(result.streamed)} trials over LSL, "
        f"{result.identical} equal to offline inference to the bit",
        fontsize=13,
    )
    figure.savefig(path, dpi=120)


def _milliseconds(
    result: DemoResult, n_bins: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.asarray(1e3 * result.model.bin_width * (np.arange(n_bins) + 0.5), np.float64)


def _counts(axes: Axes, result: DemoResult, trial: int) -> None:
    row = int(np.flatnonzero(result.batch.trials == trial)[0])
    counts = result.batch.counts[row]
    end = 1e3 * result.model.bin_width * len(counts)
    image = axes.imshow(
        counts.T, aspect="auto", cmap="Greys", interpolation="none",
        extent=(0, end, counts.shape[1], 0),
    )  # fmt: skip
    axes.figure.colorbar(image, ax=axes, label="spikes per bin", ticks=range(counts.max() + 1))
    axes.set(title=f"In: spike counts, trial {trial}", xlabel="time, ms", ylabel="unit")


def _factors(axes: Axes, result: DemoResult, trial: int) -> None:
    factors = result.streamed[trial]
    times = _milliseconds(result, len(factors))
    for k, values in enumerate(factors.T):
        axes.plot(times, values, label=f"factor_{k}")
    axes.legend(loc="upper right", fontsize=8, ncols=2)
    axes.set(title=f"Out: factors, trial {trial}", xlabel="time, ms", ylabel="a.u.")


def _latents(axes: Axes, result: DemoResult, row: int) -> None:
    true, ours = result.latents[row], result.recovered[row]
    spread = 4.0 * float(result.latents.std())
    times = _milliseconds(result, len(true))
    for k in range(true.shape[1]):
        axes.plot(times, true[:, k] - k * spread, color=_TRUE, lw=3, label="" if k else "known")
        axes.plot(times, ours[:, k] - k * spread, color=_OURS, label="" if k else "from factors")
    axes.set_yticks([-k * spread for k in range(true.shape[1])], [*"xyz"][: true.shape[1]])
    axes.legend(loc="upper right", fontsize=8)
    axes.set(title="The latents behind that trial", xlabel="time, ms")


def _trajectories(axes: Axes, result: DemoResult) -> None:
    for k, (true, ours) in enumerate(zip(result.latents, result.recovered, strict=True)):
        if k == 8:
            break
        axes.plot(true[:, 0], true[:, -1], color=_TRUE, lw=2, label="" if k else "known")
        axes.plot(ours[:, 0], ours[:, -1], color=_OURS, lw=1, label="" if k else "from factors")
    axes.legend(loc="upper right", fontsize=8)
    axes.set(title="Trajectories of eight trials", xlabel="latent x", ylabel="latent z")


def _accuracy(axes: Axes, result: DemoResult) -> None:
    names = [*"xyz"][: len(result.r2)]
    bars = axes.bar(names, result.r2, color=_OURS, width=0.5)
    axes.bar_label(bars, fmt="%.3f")
    axes.set(title="R² of the known latents (other half of trials)", ylim=(0, 1.08))


def _latency(axes: Axes, result: DemoResult) -> None:
    values = 1e3 * result.window_to_received
    hold_off = 1e3 * result.rig.binning.hold_off
    axes.hist(values, bins=24, color=_OURS)
    axes.axvline(hold_off, color=_TRUE, ls="--", label=f"hold-off {hold_off:g} ms")
    axes.axvline(float(np.median(values)), color="k", label=f"median {np.median(values):.2f} ms")
    axes.legend(fontsize=8)
    axes.set(
        title="From the end of a trial to its factors received", xlabel="ms", ylabel="trials",
        xlim=(0, None),
    )  # fmt: skip
