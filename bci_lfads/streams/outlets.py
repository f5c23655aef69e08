"""The five streams that a run publishes; docs/lsl.md is their contract."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pylsl
from numpy.typing import NDArray

from bci_lfads.streams.metadata import Desc, stream_info

LATENCY_CHANNELS = ("last_spike", "window_closed", "submitted", "done", "pushed")
_SECONDS = 60
"""Of output that a slow consumer may lag behind before samples are lost to it."""


@dataclass(frozen=True)
class OutletSettings:
    """What the published streams say of themselves."""

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


class Outlets:
    """Publishes factors, rates, status and latency.

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
        rate = pylsl.IRREGULAR_RATE if trials else 1.0 / s.bin_width
        self._factors = _outlet(
            s, "TrialFactors" if trials else "Factors", "LatentFactors",
            labels=factors + where, units=["a.u."] * len(factors) + [""] * len(where), rate=rate,
        )  # fmt: skip
        self._rates = (
            _outlet(
                s, "Rates", "FiringRates", labels=s.unit_labels + where,
                units=["Hz"] * len(s.unit_labels) + [""] * len(where), rate=rate,
            )
            if s.rates
            else None
        )  # fmt: skip
        self._status = _outlet(s, "Status", "Markers", labels=("status",), form="string")
        self._latency = _outlet(
            s, "Latency", "Metrics", labels=LATENCY_CHANNELS, units="s", form="double64"
        )
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
            np.exp(log_rates, out=rows[:, :-2])
            rows[:, -2] = trial
            self._rates.push_chunk(rows, times)

    def push_sliding(
        self,
        factors: NDArray[np.float32],
        log_rates: NDArray[np.float32] | None,
        stamps: NDArray[np.float64],
    ) -> None:
        """Publish the newest bins of a window; parameters as of `push_trial`, for those bins."""
        times = stamps.tolist()
        self._factors.push_chunk(factors, times)
        if self._rates is not None and log_rates is not None:
            rows = self._rate_rows[: len(log_rates)]
            np.exp(log_rates, out=rows)
            self._rates.push_chunk(rows, times)

    def push_status(self, status: Mapping[str, object], time: float) -> None:
        """Publish a status as JSON; it must hold nothing that JSON has no word for, such as NaN."""
        self._status.push_sample([json.dumps(status, allow_nan=False)], time)

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

    def close(self) -> None:
        """Withdraw the streams."""
        del self._factors, self._rates, self._status, self._latency


def _outlet(
    s: OutletSettings,
    stream: str,
    kind: str,
    *,
    labels: tuple[str, ...],
    units: str | list[str] = "",
    rate: float = pylsl.IRREGULAR_RATE,
    form: str = "float32",
) -> pylsl.StreamOutlet:
    desc: dict[str, str | Desc] = {
        "bin_width": repr(s.bin_width),
        "timestamp_reference": "centre" if kind in ("LatentFactors", "FiringRates") else "end",
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
    }
    info = stream_info(
        f"{s.rig} {stream}", kind, source_id=f"bci-lfads:{s.rig}:{stream}", labels=labels,
        units=units, rate=rate, form=form, desc=desc,
    )  # fmt: skip
    samples = s.n_bins * 1000 if rate == pylsl.IRREGULAR_RATE else 0
    return pylsl.StreamOutlet(info, 0, max(10, samples // 100) if samples else _SECONDS)
