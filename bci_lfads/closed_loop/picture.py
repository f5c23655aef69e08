"""Pictures of a virtual rig: the cursor's paths, and what delay costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from bci_lfads.closed_loop.rig import VirtualRig
from bci_lfads.closed_loop.scores import Score, score

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SHOWN = 80  # paths
_COLOURS = ("#0b6e99", "#c4571b", "#6b6b6b", "#7a4fa3")


def draw_run(rigs: Mapping[str, VirtualRig], path: Path) -> None:
    """Draw the paths of each rig's newest reaches, side by side, and their scores.

    Parameters
    ----------
    rigs
        After their runs, by what moved the cursor.
    path
        Of the picture; the suffix is the format.
    """
    figure = Figure(figsize=(4.2 * len(rigs), 4.9), layout="constrained")
    axes = figure.subplots(1, len(rigs), squeeze=False)[0]
    for ax, (name, rig) in zip(axes, rigs.items(), strict=True):
        _targets(ax, rig)
        first = max(0, len(rig.reaches) - len(rig.paths))
        for reach, points in list(zip(rig.reaches[first:], rig.paths, strict=False))[-_SHOWN:]:
            colour = "#0b6e99" if reach.success else "#c4571b"
            ax.plot(*points.T, color=colour, lw=0.8, alpha=0.55)
        s = score(rig.reaches)
        ax.set_title(
            f"{name}\n{100 * s.success:.1f} % of {s.reaches}, {s.time:.2f} s to target, "
            f"efficiency {s.efficiency:.2f}",
            fontsize=9,
        )
    axes[0].set_ylabel("cm", fontsize=9)
    figure.suptitle("Cursor paths: blue reached, orange out of time", fontsize=10)
    figure.savefig(path, dpi=130)


def _targets(ax: Axes, rig: VirtualRig) -> None:
    task = rig.settings.task
    circle = np.linspace(0, 2 * np.pi, 60)
    for angle in 2 * np.pi * np.arange(task.n_targets) / task.n_targets:
        x = task.distance * np.cos(angle) + task.radius * np.cos(circle)
        y = task.distance * np.sin(angle) + task.radius * np.sin(circle)
        ax.fill(x, y, color="0.88", zorder=0)
    edge = task.distance + 3 * task.radius
    ax.set(xlim=(-edge, edge), ylim=(-edge, edge), aspect="equal")
    ax.tick_params(labelsize=7)


def draw_curve(
    delays: Sequence[float],
    curves: Mapping[str, Sequence[Score]],
    path: Path,
    marks: Mapping[str, float] | None = None,
) -> None:
    """Draw success and time to target against the loop's delay.

    Parameters
    ----------
    delays
        From the end of a bin to the cursor moved, seconds.
    curves
        A score a delay, by what moved the cursor.
    path
        Of the picture.
    marks
        Delays to be marked, seconds, by what they are.
    """
    figure = Figure(figsize=(9.5, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    at = 1e3 * np.asarray(delays)
    for (name, scores), colour in zip(curves.items(), _COLOURS, strict=False):
        success = 100 * np.array([s.success for s in scores])
        low = 100 * np.array([s.success_low for s in scores])
        high = 100 * np.array([s.success_high for s in scores])
        left.fill_between(at, low, high, color=colour, alpha=0.15, lw=0)
        left.plot(at, success, "o-", ms=3.5, color=colour, label=name)
        times = np.array([s.time if s.success >= 0.05 else np.nan for s in scores])
        right.plot(at, times, "o-", ms=3.5, color=colour, label=name)
    for name, mark in (marks or {}).items():
        for ax in (left, right):
            ax.axvline(1e3 * mark, color="0.5", lw=0.8, ls=":")
        left.text(1e3 * mark, 50, f" {name}", fontsize=7, color="0.35", ha="left")
    left.set(ylabel="targets reached, %", ylim=(-3, 103))
    right.set(ylabel="median time to target, s")
    right.set_ylim(bottom=0)
    for ax in (left, right):
        ax.set_xlabel("loop delay: end of a bin to cursor moved, ms")
        ax.grid(alpha=0.25)
    left.legend(fontsize=8)
    figure.savefig(path, dpi=130)
