"""A run's input: the recorded samples, and which of them the loop took when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bci_lfads.errors import StreamError
from bci_lfads.journal import CHANNELS, Event
from bci_lfads.rig import masked_units
from bci_lfads.streams.decoders import Decoder, DecoderCounters, make_decoder
from bci_lfads.streams.markers import label
from bci_lfads.verification.align import Aligned, align
from bci_lfads.verification.session import RawStream, RecordedRun

COLUMN = {name: k for k, name in enumerate(CHANNELS)}
"""Of the journal, by name."""
NEVER = int(np.iinfo(np.int64).max)
"""Instead of a row of the journal: of a sample that the loop did not take."""


class AllSpikes(NamedTuple):
    """Every recorded spike of the model's units, taken by the loop or not, by ascending stamp.

    Attributes
    ----------
    times, units, counts
        As of `SpikeChunk`.
    row
        Row of the journal by which the loop had taken it; the largest int64 where it never did.
    """

    times: NDArray[np.float64]
    units: NDArray[np.int32]
    counts: NDArray[np.int32]
    row: NDArray[np.int64]


@dataclass
class Input:
    """The recorded streams of one kind, one after the other, and where the journal has them."""

    streams: tuple[RawStream, ...]
    stamps: NDArray[np.float64]
    firsts: NDArray[np.int64]
    places: Aligned
    added: NDArray[np.float64]
    row: NDArray[np.int64]

    def pieces(self, start: int, stop: int) -> Iterator[tuple[int, slice, NDArray[np.float64]]]:
        """Yield which stream, which of its samples, and their stamps on the loop's clock."""
        for k in range(len(self.streams)):
            a, b = max(start, int(self.firsts[k])), min(stop, int(self.firsts[k + 1]))
            if a < b:
                inside = slice(a - int(self.firsts[k]), b - int(self.firsts[k]))
                yield k, inside, self.stamps[a:b] + self.added[a:b]


class RunInput:
    """What came in.

    Parameters
    ----------
    run
        As recorded.
    """

    def __init__(self, run: RecordedRun) -> None:
        self.about = run.about
        self.stopped = run.stopped
        self.rows = np.asarray(run.journal.values, np.float64)
        self.journal_stamps = run.journal.stamps
        """Of each row: when it was written, on the loop's LSL clock."""
        self.spikes = self._input(run.spikes, "spikes", "spike_stamp", "a")
        self.markers = self._input(run.markers, "markers", "marker_stamp", "b")
        self.decoders = [self._decoder(stream) for stream in run.spikes]
        """Of each spike stream; None where the loop refused it."""

    def all_spikes(self) -> AllSpikes:
        """Return what the source sent, as far as it was recorded."""
        chunks: list[tuple[NDArray[Any], ...]] = []
        n = len(self.spikes.stamps)
        for k, inside, stamps in self.spikes.pieces(0, n):
            decoder = self.decoders[k]
            if decoder is None:
                continue
            first = int(self.spikes.firsts[k]) + inside.start
            values = self.spikes.streams[k].values
            for i in range(inside.start, inside.stop, _STEP):
                part = slice(i, min(i + _STEP, inside.stop))
                at = i - inside.start
                chunk = decoder.decode(values[part], stamps[at : at + part.stop - part.start])
                rows = self.spikes.row[first + at : first + at + part.stop - part.start]
                chunks.append((*chunk, _rows_of(decoder, values[part], rows)))
        if not chunks:
            return _NOTHING
        times, units, counts, row = (np.concatenate([c[i] for c in chunks]) for i in range(4))
        good = np.isfinite(times) & (units >= 0)
        order = np.flatnonzero(good)[np.argsort(times[good], kind="stable")]
        return AllSpikes(times[order], units[order], counts[order], row[order])

    def all_markers(self) -> tuple[NDArray[np.float64], list[str]]:
        """Return stamps and labels of all recorded markers, by ascending stamp."""
        times: list[NDArray[np.float64]] = [np.empty(0)]
        labels: list[str] = []
        for k, inside, stamps in self.markers.pieces(0, len(self.markers.stamps)):
            times.append(stamps)
            labels += [label(row[0]) for row in self.markers.streams[k].values[inside]]
        joined = np.concatenate(times)
        order = np.argsort(joined, kind="stable")
        return joined[order], [labels[i] for i in order]

    def corrections(self) -> NDArray[np.float64]:
        """Return what was added to spikes' stamps, each time that it changed; seconds."""
        changes = self.rows[:, COLUMN["event"]] == Event.CLOCK
        added: NDArray[np.float64] = self.rows[changes, COLUMN["a"]]
        return added

    def gaps(self) -> list[tuple[float, float]]:
        """Return from when until when the source of spikes was away."""
        rows = self.rows[self.rows[:, COLUMN["event"]] == Event.GAP]
        return [(float(r[COLUMN["a"]]), float(r[COLUMN["b"]])) for r in rows]

    def _input(self, streams: tuple[RawStream, ...], count: str, stamp: str, add: str) -> Input:
        stamps = np.concatenate([np.empty(0), *(s.stamps for s in streams)])
        firsts = np.cumsum([0, *(len(s.stamps) for s in streams)])
        taken = self.rows[:, COLUMN[count]].astype(np.int64)
        places = align(stamps, taken, self.rows[:, COLUMN[stamp]])
        added, row = np.zeros(len(stamps)), np.full(len(stamps), NEVER)
        correction, known = 0.0, 0
        for i, (a, b) in enumerate(zip(places.start, places.stop, strict=True)):
            added[known:b], known = correction, max(known, int(b))
            row[a:b] = i
            if self.rows[i, COLUMN["event"]] == Event.CLOCK:
                correction = float(self.rows[i, COLUMN[add]])
        added[known:] = correction
        return Input(streams, stamps, firsts, places, added, row)

    def _decoder(self, stream: RawStream) -> Decoder | None:
        about = self.about
        asked = about.rig.input.spikes
        try:
            return make_decoder(
                stream.header, about.unit_labels, about.rig.input.units,
                bin_width=about.bin_width, form=asked.format, declared=asked.declared_unit,
                reference=asked.timestamp_reference, counters=DecoderCounters(),
                optional=masked_units(about.rig, about.unit_labels),
            )[0]  # fmt: skip
        except StreamError:
            return None  # the loop refused it, too


_STEP = 4096
_NOTHING = AllSpikes(
    np.empty(0), np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.int64)
)


def _rows_of(
    decoder: Decoder, values: NDArray[np.generic], rows: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the journal's row of each decoded entry, by giving samples their place as a stamp."""
    places = decoder.decode(values, np.arange(len(rows), dtype=np.float64)).times
    found: NDArray[np.int64] = rows[np.rint(places).astype(np.int64).clip(0, len(rows) - 1)]
    return found
