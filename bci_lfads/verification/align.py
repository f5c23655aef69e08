"""Which recorded samples are those that the loop's journal counts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_AHEAD = 8  # rows that must fit too, where a stamp is in the recording more than once


class Aligned(NamedTuple):
    """Recorded samples by row of the journal.

    Attributes
    ----------
    start, stop
        Of each row: the samples taken since the row before are ``[start, stop)``; int64.
    lost
        Of each row: samples that the loop took and the recording lacks; int64.
    """

    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    lost: NDArray[np.int64]


def align(
    stamps: NDArray[np.float64], taken: NDArray[np.int64], newest: NDArray[np.float64]
) -> Aligned:
    """Find the samples of each row.

    Loop and recorder each have their own connection. Where both were connected they have the same
    samples in the same order; the loop lacks those that came while it was not connected, and the
    recording those that came while the recorder was not. The newest stamp of each row shows
    which it was.

    Parameters
    ----------
    stamps
        Of all recorded samples, in the order of arrival, as they came.
    taken, newest
        Of each row: samples that the loop had taken, and the stamp of the newest of them.
    """
    n_rows = len(taken)
    start, stop, lost = (np.zeros(n_rows, np.int64) for _ in range(3))
    at = before = 0
    for row in range(n_rows):
        n = int(taken[row]) - before
        before = int(taken[row])
        start[row] = stop[row] = at
        if n <= 0:
            continue
        end = at + n
        fits = end <= len(stamps) and _same(stamps[end - 1], newest[row])
        if not fits or not _goes_on(stamps, taken, newest, row, end):
            found = _search(stamps, taken, newest, row, at, n)
            # A connection may end here: then the next row cannot go on anywhere.
            end = found if not fits or _goes_on(stamps, taken, newest, row, found) else end
        if end < 0:
            lost[row] = n
            continue
        start[row], stop[row] = max(at, end - n), end
        lost[row] = n - (end - start[row])
        at = end
    return Aligned(start, stop, lost)


def at_a_loss(places: Aligned, firsts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return, of each row, whether one stream ends and another begins around its samples.

    What a row lacks lies between the samples found before it and its own last one, or, where none
    of its own was found, the last one of the row found next: of a row that lacks samples it is not
    known which of those before its newest are its own.

    Parameters
    ----------
    places
        Of `align`.
    firsts
        Where each stream begins among the recorded samples, and where the last one ends.
    """
    never = np.iinfo(np.int64).max
    some = places.stop > places.start
    last = np.where(some, places.stop - 1, never)
    following = np.minimum.accumulate(last[::-1])[::-1]
    before = np.concatenate([[0], np.maximum.accumulate(places.stop)[:-1]])
    ends = firsts[1:-1]
    next_end = np.concatenate([ends, [never]])[np.searchsorted(ends, before)]
    result: NDArray[np.bool_] = (next_end <= following) & (next_end < never)
    return result


def at_the_end(places: Aligned) -> NDArray[np.bool_]:
    """Return, of each row, whether no later sample that the loop took is in the recording."""
    found = np.flatnonzero(places.stop > places.start)
    result: NDArray[np.bool_] = np.arange(len(places.stop)) > found.max(initial=-1)
    return result


def _search(
    stamps: NDArray[np.float64],
    taken: NDArray[np.int64],
    newest: NDArray[np.float64],
    row: int,
    at: int,
    n: int,
) -> int:
    """Return where the samples of a row end, -1 where none fits.

    First where the loop lacks some (later places), then where the recording does (earlier ones).
    """
    wanted = newest[row]
    # Stamps of one stream are nearly in order, but nothing here relies on that.
    ends = np.flatnonzero(np.isnan(stamps) if np.isnan(wanted) else stamps == wanted) + 1
    later, earlier = ends[ends >= at + n], ends[(ends > at) & (ends < at + n)]
    for end in later.tolist():
        if _goes_on(stamps, taken, newest, row, end):
            return int(end)
    for places in (earlier[::-1], later):
        if len(places):
            return int(places[0])
    return -1


def _goes_on(
    stamps: NDArray[np.float64],
    taken: NDArray[np.int64],
    newest: NDArray[np.float64],
    row: int,
    end: int,
) -> bool:
    """Return whether the next rows fit, too, if this one ends here."""
    for k in range(row + 1, min(row + 1 + _AHEAD, len(taken))):
        place = end + int(taken[k] - taken[row])
        if place > len(stamps):
            return False
        if taken[k] > taken[k - 1] and not _same(stamps[place - 1], newest[k]):
            return False
    return True


def _same(a: np.float64, b: np.float64) -> bool:
    return bool(a == b or (np.isnan(a) and np.isnan(b)))
