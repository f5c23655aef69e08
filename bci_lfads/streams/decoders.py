"""Samples of the three spike formats to spikes of the model's units."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from bci_lfads.errors import StreamError
from bci_lfads.headers import Header, SpikeFormat
from bci_lfads.streams.chunks import SpikeChunk
from bci_lfads.streams.unit_map import Key, expand_units, find_units, pair, whole

_FROM_CENTRE = {"start": 0.5, "centre": 0.0, "end": -0.5}  # of a bin, added to a stamp
_TOLERANCE = 1e-6
_DTYPES = {
    "int8": np.int8, "int16": np.int16, "int32": np.int32, "int64": np.int64,
    "float32": np.float32, "double64": np.float64,
}  # fmt: skip
_ACCEPTED = (
    "accepted are: events (irregular, numeric, with channels labelled 'channel' and 'unit'), ids "
    "(irregular, one channel of int or string) and counts (regular rate, a channel a unit)"
)


@dataclass
class DecoderCounters:
    """Samples that give no spikes; those of unknown units do, and are counted with the bins."""

    invalid: int = 0
    """Values that are no spike: not whole, negative or not finite."""


class Decoder(Protocol):
    """Turns samples into spikes."""

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """Of samples; None for text."""

    def decode(self, samples: Any, stamps: NDArray[np.float64]) -> SpikeChunk:
        """Return the spikes of some samples."""


@dataclass(frozen=True)
class SourceBins:
    """Bins of a counts stream.

    Attributes
    ----------
    width
        Seconds.
    to_centre
        Seconds from a stamp to the centre of its bin.
    """

    width: float
    to_centre: float


def spike_format(header: Header, declared: Literal["count"] | None = None) -> SpikeFormat:
    """Return the format of a stream, by what it says of itself.

    Parameters
    ----------
    header
        The stream's.
    declared
        ``count`` to believe that a stream labelled in Hz carries counts.

    Raises
    ------
    StreamError
        If it carries no spikes, or rates in Hz.
    """
    who = f"stream '{header.name}'"
    if header.in_hertz and declared != "count":
        raise StreamError(
            f"{who} is in Hz, and rates are no counts; if it does carry counts, set "
            f"declared_unit = 'count' in [input.spikes]"
        )
    numeric = header.format in _DTYPES
    if header.rate > 0 and numeric:
        return "counts"
    if header.rate == 0 and numeric and header.event_columns:
        return "events"
    is_id = header.format == "string" or (numeric and header.integer)
    if header.rate == 0 and header.n_channels == 1 and is_id:
        return "ids"
    raise StreamError(
        f"{who} ({header.n_channels} channels of {header.format}, {header.rate:g} Hz, labels "
        f"{', '.join(header.labels[:6]) or 'none'}) carries no spikes; {_ACCEPTED}"
    )


def make_decoder(
    header: Header,
    units: Sequence[str],
    unit_map: Mapping[str, str],
    *,
    bin_width: float,
    form: Literal["auto", "events", "ids", "counts"] = "auto",
    declared: Literal["count"] | None = None,
    reference: Literal["start", "centre", "end"] | None = None,
    optional: Collection[str] = (),
    counters: DecoderCounters,
) -> tuple[Decoder, SourceBins | None]:
    """Choose and prepare the decoder for a stream.

    Parameters
    ----------
    header
        The stream's.
    units
        Labels of the model's units.
    unit_map
        Label or key in the stream of model units that are called otherwise there; see
        `expand_units`.
    bin_width
        The model's, seconds; a whole multiple of a counts stream's.
    form, declared, reference
        What the rig file says of the stream.
    optional
        Of the units, those that the stream need not have.
    counters
        Where to count.

    Returns
    -------
    decoder
        The decoder.
    bins
        Of a counts stream, else None.

    Raises
    ------
    StreamError
        If the stream has another format than declared, lacks units, or its bins do not fit.
    """
    found = spike_format(header, declared)
    if form not in ("auto", found):
        raise StreamError(
            f"stream '{header.name}' carries {found}; the rig file says format = '{form}'"
        )
    if optional:
        return _make_partial(
            header, units, optional, lambda some: make_decoder(
                header, some, {u: n for u, n in expand_units(units, unit_map).items() if u in some},
                bin_width=bin_width, form=form, declared=declared, reference=reference,
                counters=counters,
            ),
        )  # fmt: skip
    named = expand_units(units, unit_map)
    who = f"stream '{header.name}'"
    if found == "counts":
        bins = _source_bins(header, bin_width, reference)
        labels = header.labels
        # A label that two channels share finds neither.
        once = {u: i for i, u in enumerate(labels) if labels.count(u) == 1}
        return _Counts(header, find_units(who, units, named, once), bins, counters), bins
    if found == "ids":
        texts = header.listed_units(("id",))
        if header.format == "string":
            listed = {label: key for key, label in texts.items()}
            return _TextIds(find_units(who, units, named, listed, str, "its id or its label")), None
        ids = find_units(who, units, named, _keyed(texts, whole), whole, "its id or its label")
        return _Ids(ids, header, counters), None
    listed_pairs = _keyed(header.listed_units(("channel", "unit")), pair)
    how = "'channel/unit' or its label"
    return _Events(find_units(who, units, named, listed_pairs, pair, how), header, counters), None


def _make_partial(
    header: Header,
    units: Sequence[str],
    optional: Collection[str],
    make: Callable[[list[str]], tuple[Decoder, SourceBins | None]],
) -> tuple[Decoder, SourceBins | None]:
    """Make a decoder of those units that the stream has, which are all but optional ones."""
    there = [u for u in units if u not in optional]
    make(there)  # refuses what lacks others
    for unit in units:
        if unit in optional:
            try:
                make([unit])
            except StreamError:
                continue
            there.append(unit)
    there = [u for u in units if u in there]
    decoder, bins = make(there)
    return _Placed(decoder, [units.index(u) for u in there]), bins


class _Placed:
    """Units of another decoder at their places among more."""

    def __init__(self, decoder: Decoder, places: Sequence[int]) -> None:
        self._decoder = decoder
        self._places = np.array([*places, -1], np.int32)  # unknown ones stay unknown

    @property
    def dtype(self) -> np.dtype[Any] | None:
        return self._decoder.dtype

    def decode(self, samples: Any, stamps: NDArray[np.float64]) -> SpikeChunk:
        chunk = self._decoder.decode(samples, stamps)
        return chunk._replace(units=self._places[chunk.units])


def _keyed(texts: Mapping[str, str], key_of: Callable[[str], Key | None]) -> dict[str, Key]:
    """Return key by label of those units whose key is one."""
    keys = ((label, key_of(text)) for text, label in texts.items())
    return {label: key for label, key in keys if key is not None}


def _source_bins(header: Header, bin_width: float, reference: str | None) -> SourceBins:
    width = 1.0 / header.rate
    times = bin_width / width
    if round(times) < 1 or abs(times - round(times)) > _TOLERANCE * times:
        raise StreamError(
            f"stream '{header.name}' has bins of {1e3 * width:g} ms; the model's bins of "
            f"{1e3 * bin_width:g} ms are no whole multiple of them"
        )
    said = reference or header.text("timestamp_reference") or "end"
    if said not in _FROM_CENTRE:
        raise StreamError(
            f"stream '{header.name}' says timestamp_reference '{said}'; expected start, centre or "
            f"end; set timestamp_reference in [input.spikes]"
        )
    return SourceBins(width, _FROM_CENTRE[said] * width)


class _Table:
    """Model unit by integer key, looked up for many keys at once."""

    def __init__(self, keys: Sequence[int]) -> None:
        order = np.argsort(keys, kind="stable")
        self._keys = np.asarray(keys, np.int64)[order]
        self._units = order.astype(np.int32)

    def look_up(self, keys: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return the unit of each key, -1 where there is none."""
        place = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        units: NDArray[np.int32] = np.where(self._keys[place] == keys, self._units[place], -1)
        return units


class _Events:
    def __init__(
        self, keys: list[tuple[int, int]], header: Header, counters: DecoderCounters
    ) -> None:
        self.dtype = np.dtype(_DTYPES[header.format])
        self._channel, self._unit = header.event_columns or (0, 1)
        self._table = _Table([_packed(c, u) for c, u in keys])
        self._counters = counters

    def decode(self, samples: Any, stamps: NDArray[np.float64]) -> SpikeChunk:
        channel, good = _as_keys(samples[:, self._channel])
        unit, also = _as_keys(samples[:, self._unit])
        good &= also
        units = self._table.look_up(_packed(channel, unit))
        return _chunk(units, good, stamps, self._counters)


class _Ids:
    def __init__(self, keys: list[int], header: Header, counters: DecoderCounters) -> None:
        self.dtype = np.dtype(_DTYPES[header.format])
        self._table = _Table(keys)
        self._counters = counters

    def decode(self, samples: Any, stamps: NDArray[np.float64]) -> SpikeChunk:
        keys, good = _as_keys(samples[:, 0])
        return _chunk(self._table.look_up(keys), good, stamps, self._counters)


class _TextIds:
    dtype = None

    def __init__(self, keys: list[str]) -> None:
        self._units = {key.encode(): unit for unit, key in enumerate(keys)}

    def decode(self, samples: Any, stamps: NDArray[np.float64]) -> SpikeChunk:
        units = np.array([self._units.get(s, -1) for s in samples[:, 0]], np.int32)
        return SpikeChunk(stamps, units, np.ones(len(units), np.int32))


class _Counts:
    def __init__(
        self, header: Header, columns: list[int], bins: SourceBins, counters: DecoderCounters
    ) -> None:
        self.dtype = np.dtype(_DTYPES[header.format])
        self._unit_of = np.full(header.n_channels, -1, np.int32)
        self._unit_of[columns] = np.arange(len(columns), dtype=np.int32)
        self._to_centre = bins.to_centre
        self._counters = counters

    def decode(self, samples: Any, stamps: NDArray[np.float64]) -> SpikeChunk:
        row, column = np.nonzero(samples)  # NaN is not zero
        values = samples[row, column]
        if self.dtype.kind == "f":
            with np.errstate(invalid="ignore"):
                good = (values > 0) & (values < 2**31) & (values == np.floor(values))
        else:
            good = (values > 0) & (values < 2**31)
        if not good.all():
            self._counters.invalid += int(np.count_nonzero(~good))
            row, column, values = row[good], column[good], values[good]
        units, counts = self._unit_of[column], values.astype(np.int32)
        return SpikeChunk(stamps[row] + self._to_centre, units, counts)


def _packed(channel: Any, unit: Any) -> Any:
    """Return one integer for a channel and a unit, of 31 bits each."""
    return channel * 2**31 + unit


def _as_keys(values: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return whole numbers of 31 bits, and which of them are; the others become 0."""
    with np.errstate(invalid="ignore"):
        good = (values >= 0) & (values < 2**31)  # NaN is neither
        if values.dtype.kind == "f":
            good &= values == np.floor(values)
    return np.where(good, values, 0).astype(np.int64), good


def _chunk(
    units: NDArray[np.int32],
    good: NDArray[np.bool_],
    stamps: NDArray[np.float64],
    counters: DecoderCounters,
) -> SpikeChunk:
    if not good.all():
        counters.invalid += int(np.count_nonzero(~good))
        units, stamps = units[good], stamps[good]
    return SpikeChunk(stamps, units, np.ones(len(units), np.int32))
