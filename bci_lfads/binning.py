"""Spike events to counts on a bin grid, exactly as `numpy.histogram` counts them."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bci_lfads import _binning
from bci_lfads.memory import held
from bci_lfads.recordings.recording import BinnedCounts, Recording

_RESOLVABLE = 2.0**44
"""Bins from zero up to which float64 stamps place an edge to 1/512 of a bin."""


@dataclass(frozen=True)
class BinGrid:
    """Bins of equal width in time.

    Edge ``k`` is ``origin + k * width`` computed in float64 exactly like that, and bin ``k`` is
    ``[edge(k), edge(k + 1))``.

    Attributes
    ----------
    origin
        Edge 0, seconds.
    width
        Seconds.

    Raises
    ------
    ValueError
        Where the width is not a finite number above zero, or float64 cannot tell the edges
        around the origin apart.
    """

    origin: float
    width: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.width) and self.width > 0):
            raise ValueError(f"bin width is {self.width} s; it must be a finite number above 0")
        if not abs(self.origin) <= self.reach:
            raise ValueError(
                f"a grid of {self.width} s bins cannot start at {self.origin} s: float64 stamps "
                f"resolve such bins up to {self.reach:g} s"
            )

    @property
    def reach(self) -> float:
        """How far from zero, in seconds, stamps still resolve these bins."""
        return self.width * _RESOLVABLE

    def edge(self, k: int) -> float:
        """Return the left edge of bin `k`, which is the right edge of the bin before."""
        return self.origin + float(k) * self.width

    def centre(self, k: int) -> float:
        """Return the middle of bin `k`."""
        return self.origin + (k + 0.5) * self.width

    def edges(self, first: int, n_bins: int) -> NDArray[np.float64]:
        """Return the ``n_bins + 1`` edges of `n_bins` bins from bin `first` on."""
        return self.origin + np.arange(first, first + n_bins + 1, dtype=np.float64) * self.width

    def index(self, time: float) -> int:
        """Return the bin of one finite time (at most 2^52 bins from the origin)."""
        return int(self.indices(np.array([time]))[0])

    def indices(self, times: ArrayLike) -> NDArray[np.int64]:
        """Return the bin of each time, as ``searchsorted(edges, times, "right") - 1`` gives it.

        Parameters
        ----------
        times
            Seconds, shape ``(n,)``.

        Returns
        -------
        int64, shape ``(n,)``; ±2^52 for times further than that, the smallest int64 for NaN.
        """
        flat = np.ascontiguousarray(times, np.float64)
        out = np.empty(flat.shape, np.int64)
        _binning.bin_indices(flat, self.origin, self.width, out)
        return out

    def snapped(self, phase: float, source_width: float) -> BinGrid:
        """Return this grid with its origin moved to the nearest edge of a source's own bins.

        Counts that arrive per source bin are placed at its middle; on the snapped grid such a
        middle never falls on an edge. An origin in the midst of a bin, to a thousandth of it, goes
        to the earlier edge: rounding, which differs between a recording and its replay, must not
        choose.

        Parameters
        ----------
        phase
            Any edge of the source's bins, seconds.
        source_width
            Width of the source's bins, seconds.
        """
        k = math.floor((self.origin - phase) / source_width + 0.499)
        return BinGrid(phase + k * source_width, self.width)


@dataclass(frozen=True)
class SpikeTally:
    """What became of all spikes, counted in spikes (an event of multiplicity 3 counts 3).

    Always: ``received = kept + late + ahead + outside + unknown + invalid``.
    """

    received: int = 0
    """All that came in."""
    kept: int = 0
    """Came in time and went into a bin (sliding) or into the history (trials)."""
    unordered: int = 0
    """Stamped before one that came earlier: no loss, a sign of the source (counted besides)."""
    late: int = 0
    """Came after the watermark had passed: after its bin had closed (sliding: left out), or
    stamped before the watermark (trials: still used by windows that are open, or open later)."""
    ahead: int = 0
    """Stamped further ahead than the horizon, with no room left to wait there (sliding)."""
    outside: int = 0
    """Stamped before the first bin (sliding), or outside of the window asked for."""
    unknown: int = 0
    """Of a channel or unit that the model does not have."""
    invalid: int = 0
    """Stamped NaN or infinite, or of negative multiplicity; an entry counts at least one."""
    saturated: int = 0
    """Lost because a bin holds at most 255 (counted besides; in trials, for each window)."""
    overwritten: int = 0
    """Pushed out of a full history while a late marker could still ask for it (besides)."""

    @classmethod
    def of(cls, tally: NDArray[np.int64]) -> SpikeTally:
        """Take over the counters that the compiled functions count into."""
        return cls(*tally.tolist())


_FIELDS = tuple(f.name for f in fields(SpikeTally))
SATURATED = _FIELDS.index("saturated")


def new_tally() -> NDArray[np.int64]:
    """Return zeroed counters in the order of `SpikeTally`'s fields."""
    return np.zeros(_binning.TALLY_SIZE, np.int64)


class EventRing:
    """The newest spike events, so that a trial may begin before its marker came.

    Memory is fixed; when full, the oldest arrivals are overwritten.

    Parameters
    ----------
    capacity
        Events kept.
    n_units
        Units of the model; events of others are counted as unknown and not kept.
    """

    def __init__(self, capacity: int, n_units: int) -> None:
        if capacity < 1:
            raise ValueError(f"an event history of {capacity} events cannot hold any")
        self.n_units = n_units
        self._times = np.full(capacity, np.nan)
        self._units = held(capacity, np.int32)
        self._counts = held(capacity, np.int32)
        self._stamps = np.full(2, -np.inf)
        self._written = 0

    def __len__(self) -> int:
        return min(self._written, len(self._times))

    @property
    def newest(self) -> float:
        """Newest plausible stamp so far; -inf before the first."""
        return float(self._stamps[0])

    @property
    def overwritten_until(self) -> float:
        """Newest stamp among events that were overwritten: what is later is complete."""
        return float(self._stamps[1])

    def append(
        self,
        times: NDArray[np.float64],
        units: NDArray[np.int32],
        counts: NDArray[np.int32],
        tally: NDArray[np.int64],
        *,
        watermark: float = -math.inf,
        plausible: float = math.inf,
        needed_from: float = -math.inf,
    ) -> None:
        """Keep a chunk of events, in any order.

        Parameters
        ----------
        times, units, counts
            Seconds, unit index and multiplicity, each of shape ``(n,)``.
        tally
            Counters to add to.
        watermark
            Events stamped before are counted as late (and kept).
        plausible
            Stamps after are taken for this one where the newest stamp is noted: a wild stamp
            must not make all that follow look unordered, or lost.
        needed_from
            Overwriting an event stamped then or later is counted as a loss.
        """
        self._written = _binning.remember(
            times, units, counts, self.n_units, watermark, plausible, needed_from,
            self._times, self._units, self._counts, self._written, self._stamps, tally,
        )  # fmt: skip

    def add_to(self, counts: NDArray[np.uint8], grid: BinGrid, tally: NDArray[np.int64]) -> float:
        """Add all kept events to a window of counts ``(n_bins, n_units)`` from the origin on.

        Returns
        -------
        The stamp of the newest spike in the window, or -inf.
        """
        n = len(self)
        return _binning.accumulate(
            self._times[:n], self._units[:n], self._counts[:n],
            grid.origin, grid.width, counts, tally,
        )  # fmt: skip


def events_of(
    recording: Recording,
) -> tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.int32]]:
    """Return a recording's spikes as ``(times, units, multiplicities)``.

    Binned counts are placed at the middle of their bins.
    """
    spikes = recording.spikes
    if isinstance(spikes, BinnedCounts):
        rows, columns = np.nonzero(spikes.counts)
        times = (spikes.start + (rows + 0.5) * spikes.bin_width).astype(np.float64)
        counts = spikes.counts[rows, columns].astype(np.int32)
        return times, columns.astype(np.int32), counts
    return (
        np.ascontiguousarray(spikes.times, np.float64),
        np.ascontiguousarray(spikes.units, np.int32),
        np.ones(len(spikes.times), np.int32),
    )


def bin_recording(
    recording: Recording, origin: float, width: float, n_bins: int
) -> tuple[NDArray[np.uint8], SpikeTally]:
    """Count a recording's spikes on one grid.

    Parameters
    ----------
    recording
        Events, or counts (placed at the middle of their bins).
    origin, width, n_bins
        Left edge of the first bin and width of all, in seconds, and their number.

    Returns
    -------
    counts
        uint8, shape ``(n_bins, n_units)``.
    tally
        What became of the spikes.
    """
    grid = BinGrid(origin, width)
    counts = np.zeros((n_bins, recording.n_units), np.uint8)
    tally = new_tally()
    times, units, multiplicity = events_of(recording)
    _binning.accumulate(times, units, multiplicity, grid.origin, grid.width, counts, tally)
    return counts, SpikeTally.of(tally)
