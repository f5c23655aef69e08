"""The six streams that a run publishes; docs/lsl.md is their contract."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pylsl
from numpy.typing import NDArray

from bci_lfads.journal import CHANNELS as JOURNAL_CHANNELS
from bci_lfads.streams.metadata import Desc, stream_info

LATENCY_CHANNELS = ("last_spike", "window_closed", "submitted", "done", "pushed")
# How far a slow consumer may lag behind before the oldest samples are lost to it.
_SECONDS = 60  # of a sliding window
_TRIALS = 1000
_MESSAGES = 1000  # on Status
_ROWS = 1 << 16  # of the journal


@dataclass(frozen=True)
class OutletSettings:
    """What the published streams say of themselves.

    Raises
    ------
    ValueError
        Naming the size that no stream can have.
    """

    rig: str
    """Prefix of their names."""
    unit_labels: tuple[str, ...]
    n_factors: int
    bin_width: float
    """Seconds."""
    n_bins: int
    """Bins that a window gives."""
    hop: int | None
    """Bins from one window to the next; None for trials."""
    model_hash: str
    engine: str
    number_format: str
    input_source: str
    """The spike stream, in words."""
    rates: bool = False
    """Whether firing rates are published."""
    clock: Literal["auto", "lsl", "stream"] = "auto"
    """Time base of the stamps: moments of the LSL clock; a source's own; or as the source turns
    out to be once it is connected."""
    about: str = ""
    """The run's account of itself, for Status (`about.About.to_text`)."""

    def __post_init__(self) -> None:
        if not 0 < self.bin_width < math.inf:
            raise ValueError(f"bin_width is {self.bin_width} s; a bin has a positive length")
        for what, size in (
            ("n_factors", self.n_factors),
            ("n_bins", self.n_bins),
            ("unit_labels", len(self.unit_labels)),
        ):
            if size < 1:
                raise ValueError(f"{what} is {size}; at least 1 is needed")
        if self.hop is not None and not 1 <= self.hop <= self.n_bins:
            raise ValueError(f"hop is {self.hop}; a window of {self.n_bins} bins moves by 1 to all")

    @property
    def windows_kept(self) -> int:
        """Windows that wait for a slow consumer."""
        return _TRIALS if self.hop is None else math.ceil(_SECONDS / (self.hop * self.bin_width))


class Outlets:
    """Publishes factors, rates, status, latency and the journal.

    Trials go to ``<rig> TrialFactors`` at rate 0, all bins of a trial in one push; a sliding
    window to ``<rig> Factors`` at one sample a bin. All stamps are explicit, those of factors and
    rates are the bins' centres.

    Parameters
    ----------
    settings
        Sizes and metadata.
    """

    def __init__(self, settings: OutletSettings) -> None:
        s = settings
        factors = tuple(f"factor_{k}" for k in range(s.n_factors))
        trials = s.hop is None
        where = ("trial", "bin") if trials else ()
        no_units = [""] * len(where)
        rate = pylsl.IRREGULAR_RATE if trials else 1.0 / s.bin_width
        kept = s.windows_kept * s.n_bins if trials else _SECONDS
        self._factors = _outlet(
            s, "TrialFactors" if trials else "Factors", "LatentFactors", labels=factors + where,
            units=["a.u."] * len(factors) + no_units, rate=rate, kept=kept, reference="centre",
        )  # fmt: skip
        self._rates = (
            _outlet(
                s, "Rates", "FiringRates", labels=s.unit_labels + where,
                units=["Hz"] * len(s.unit_labels) + no_units, rate=rate, kept=kept,
                reference="centre",
            )
            if s.rates
            else None
        )  # fmt: skip
        self._status = _outlet(
            s, "Status", "Markers", labels=("status",), form="string", kept=_MESSAGES,
            more={"run": s.about} if s.about else {},
        )  # fmt: skip
        self._latency = _outlet(
            s, "Latency", "Metrics", labels=LATENCY_CHANNELS, units="s", form="double64",
            kept=s.windows_kept, reference="end",
        )  # fmt: skip
        self._journal = _outlet(
            s, "Journal", "Journal", labels=JOURNAL_CHANNELS, form="double64", kept=_ROWS,
        )  # fmt: skip
        n_where = len(where)
        self._factor_rows = np.zeros((s.n_bins, s.n_factors + n_where), np.float32)
        self._rate_rows = np.zeros((s.n_bins, len(s.unit_labels) + n_where), np.float32)
        if trials:
            self._factor_rows[:, -1] = self._rate_rows[:, -1] = np.arange(s.n_bins)

    def push_trial(
        self,
        factors: NDArray[np.float32],
        log_rates: NDArray[np.float32] | None,
        stamps: NDArray[np.float64],
        trial: int,
    ) -> None:
        """Publish a trial.

        Parameters
        ----------
        factors
            float32, shape ``(n_bins, n_factors)``.
        log_rates
            Natural logarithm of Hz, float32, shape ``(n_bins, n_units)``; None for no rates.
        stamps
            Centres of the bins, seconds on the LSL clock, shape ``(n_bins,)``.
        trial
            Its number.
        """
        rows = self._factor_rows
        rows[:, :-2], rows[:, -2] = factors, trial
        times = stamps.tolist()
        self._factors.push_chunk(rows, times)
        if self._rates is not None and log_rates is not None:
            rows = self._rate_rows
            rows[:, -2] = trial
            with np.errstate(over="ignore"):  # inf says it; a warning would only cost time
                np.exp(log_rates, out=rows[:, :-2])
            self._rates.push_chunk(rows, times)

    def push_sliding(
        self,
        factors: NDArray[np.float32],
        log_rates: NDArray[np.float32] | None,
        stamps: NDArray[np.float64],
    ) -> None:
        """Publish the newest bins of a window.

        Parameters
        ----------
        factors, log_rates, stamps
            As of `push_trial`, for the ``hop`` bins that the window before did not have.
        """
        times = stamps.tolist()
        self._factors.push_chunk(factors, times)
        if self._rates is not None and log_rates is not None:
            rows = self._rate_rows[: len(log_rates)]
            with np.errstate(over="ignore"):
                np.exp(log_rates, out=rows)
            self._rates.push_chunk(rows, times)

    def push_status(self, status: Mapping[str, object], time: float) -> None:
        """Publish a status as JSON, stamped `time`; numbers that are not finite become null."""
        self._status.push_sample([as_json(status)], time)

    def push_latency(
        self,
        stamp: float,
        last_spike: float,
        closed: float,
        submitted: float,
        done: float,
        pushed: float,
    ) -> None:
        """Publish the moments of a window's way, LSL clock, stamped with the window's end.

        Parameters
        ----------
        last_spike
            Stamp of its newest spike; NaN where it has none.
        closed, submitted, done, pushed
            When it was closed, given to the engine, back from it, and published.
        """
        self._latency.push_sample((last_spike, closed, submitted, done, pushed), stamp)

    def push_journal(self, rows: NDArray[np.float64], stamps: NDArray[np.float64]) -> None:
        """Publish rows of the acquisition's journal, ``(n, len(CHANNELS))``, and when."""
        self._journal.push_chunk(rows, stamps.tolist())

    def close(self) -> None:
        """Withdraw the streams."""
        del self._factors, self._rates, self._status, self._latency, self._journal


def as_json(value: object) -> str:
    """Return compact JSON, in which numbers that are not finite are null."""
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False, separators=(",", ":"))


def _finite(value: object) -> object:
    """Return the value with None for numbers that JSON has no word for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(item) for item in value]
    return value


def _outlet(
    s: OutletSettings,
    stream: str,
    kind: str,
    *,
    labels: tuple[str, ...],
    kept: int,
    units: str | list[str] = "",
    rate: float = pylsl.IRREGULAR_RATE,
    form: str = "float32",
    reference: str = "",
    more: Desc | None = None,
) -> pylsl.StreamOutlet:
    """Open a stream; `kept` is what may wait: samples, or seconds where the rate is regular."""
    desc: dict[str, str | Desc | Sequence[Desc]] = {
        "bin_width": repr(s.bin_width),
        **({"timestamp_reference": reference} if reference else {}),
        "time_base": s.clock,
        "window": {
            "mode": "trials" if s.hop is None else "sliding",
            "n_bins": str(s.n_bins),
            "length": repr(s.n_bins * s.bin_width),
            **({} if s.hop is None else {"hop": str(s.hop)}),
        },
        "model": {"hash": s.model_hash},
        "engine": {"name": s.engine, "number_format": s.number_format},
        "input_source": s.input_source,
        "synchronization": {"can_drop_samples": "true"},
        **(more or {}),
    }
    info = stream_info(
        f"{s.rig} {stream}", kind, source_id=f"bci-lfads:{s.rig}:{stream}", labels=labels,
        units=units, rate=rate, form=form, desc=desc,
    )  # fmt: skip
    # LSL counts in hundreds of samples where there is no rate.
    buffered = math.ceil(kept / 100) if rate == pylsl.IRREGULAR_RATE else kept
    return pylsl.StreamOutlet(info, 0, buffered)
