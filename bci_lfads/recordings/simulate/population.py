"""Units driven by latents: loading, exponential link, Poisson spikes; and blocks of recording."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bci_lfads.errors import RecordingError
from bci_lfads.recordings.recording import Markers, Recording, Series, SpikeEvents

STEP = 0.001
"""Seconds; rates are constant within a step, spike times are continuous within it."""
SERIES_EVERY = 10
"""Steps between two samples of the series that go with the spikes."""
_PIECE = 1000
"""Steps for which spikes are drawn at once; it bounds memory and is part of what a seed means."""


@dataclass(frozen=True)
class Population:
    """Units whose log-rates are a linear map of the latents.

    Attributes
    ----------
    loading
        float64, shape ``(n_units, n_latents)``.
    bias
        Natural logarithm of Hz at zero latents, float64, shape ``(n_units,)``.
    """

    loading: NDArray[np.float64]
    bias: NDArray[np.float64]

    @classmethod
    def draw(
        cls,
        loading: NDArray[np.float64],
        reference: NDArray[np.float64],
        rate: float,
        spread: float,
        rng: np.random.Generator,
    ) -> Population:
        """Choose biases such that the units' rates average ``rate`` over reference latents.

        Parameters
        ----------
        loading
            Shape ``(n_units, n_latents)``.
        reference
            Typical latents, shape ``(n_samples, n_latents)``.
        rate
            Mean over units of the mean rate, Hz.
        spread
            Standard deviation over units of the logarithm of the mean rate.
        """
        means = np.exp(spread * rng.standard_normal(len(loading)))
        means *= rate / means.mean()
        gain = np.exp(reference @ loading.T).mean(axis=0)
        return cls(loading, np.log(means) - np.log(gain))

    @property
    def unit_labels(self) -> tuple[str, ...]:
        """``unit_01`` and so on."""
        width = max(2, len(str(len(self.bias))))
        return tuple(f"unit_{i + 1:0{width}d}" for i in range(len(self.bias)))

    def rates(self, latents: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return rates in Hz, shape ``(n_samples, n_units)``."""
        rates: NDArray[np.float64] = np.exp(latents @ self.loading.T + self.bias)
        return rates

    def spikes(
        self, latents: NDArray[np.float64], first_step: int, rng: np.random.Generator
    ) -> SpikeEvents:
        """Draw an inhomogeneous Poisson process whose rate is constant within a step.

        Parameters
        ----------
        latents
            One row a step of `STEP` seconds, the first of which begins at
            ``first_step * STEP``.
        """
        times, units = [np.empty(0)], [np.empty(0, np.int32)]
        for begin in range(0, len(latents), _PIECE):
            counts = rng.poisson(self.rates(latents[begin : begin + _PIECE]) * STEP)
            step, unit = np.nonzero(counts)
            repeats = counts[step, unit]
            step, unit = np.repeat(step, repeats), np.repeat(unit, repeats)
            when = (first_step + begin + step + rng.random(step.size)) * STEP
            order = np.argsort(when, kind="stable")
            times.append(when[order])
            units.append(unit[order].astype(np.int32))
        return SpikeEvents(np.concatenate(times), np.concatenate(units))


def block(
    population: Population,
    latents: NDArray[np.float64],
    first_step: int,
    rng: np.random.Generator,
    *,
    latent_labels: tuple[str, ...],
    markers: Sequence[tuple[int, str]],
    name: str,
    behaviour: tuple[NDArray[np.float64], tuple[str, ...]] | None = None,
) -> Recording:
    """Return a stretch of recording with the spikes of these latents.

    Parameters
    ----------
    latents
        One row a step, shape ``(n_steps, n_latents)``.
    first_step
        Number of the first step, counted from the start of the whole recording.
    markers
        Step, counted from ``first_step``, and label.
    behaviour
        Values, one row a step, and labels.
    """
    take = np.arange(-first_step % SERIES_EVERY, len(latents), SERIES_EVERY)
    times = np.asarray((first_step + take + 0.5) * STEP, np.float64)

    def series(values: NDArray[np.float64], labels: tuple[str, ...]) -> Series:
        return Series(times, values.astype(np.float32), labels)

    labels = population.unit_labels
    every = {
        "latents": series(latents[take], latent_labels),
        "rates": series(population.rates(latents[take]), labels),
    }
    if behaviour is not None:
        every["behaviour"] = series(behaviour[0][take], behaviour[1])
    return Recording(
        spikes=population.spikes(latents, first_step, rng),
        unit_labels=labels,
        start=first_step * STEP,
        stop=(first_step + len(latents)) * STEP,
        markers=Markers(
            np.array([(first_step + step) * STEP for step, _ in markers], np.float64),
            tuple(label for _, label in markers),
        ),
        series=every,
        name=name,
    )


def gather(
    blocks: Iterable[Recording], n_trials: int | None = None, duration: float | None = None
) -> Recording:
    """Join the first blocks of a stream to one recording.

    Parameters
    ----------
    blocks
        Blocks that follow each other, one a trial; may be endless.
    n_trials, duration
        Blocks to take, or seconds; exactly one of them. A last trial that the duration cuts
        stays in the recording as far as it goes.

    Raises
    ------
    RecordingError
        Where neither or both are given, or there is nothing to simulate.
    """
    if (n_trials is None) == (duration is None):
        raise RecordingError("say how much to simulate: either n_trials or duration")
    if (n_trials is not None and n_trials < 1) or (
        duration is not None and not 0 < duration < math.inf
    ):
        raise RecordingError(f"nothing to simulate: n_trials={n_trials}, duration={duration}")
    parts: list[Recording] = []
    for part in blocks:
        parts.append(part)
        if len(parts) == n_trials or (duration is not None and part.stop >= duration):
            break
    first = parts[0]
    stop = parts[-1].stop if duration is None else duration
    times, units = _join(parts, stop)
    marks = [
        (time, label)
        for part in parts
        for time, label in zip(part.markers.times, part.markers.labels, strict=True)
        if time <= stop
    ]
    series = {}
    for name, like in first.series.items():
        at = np.concatenate([p.series[name].times for p in parts])
        values = np.concatenate([p.series[name].values for p in parts])
        series[name] = Series(at[at < stop], values[at < stop], like.labels)
    return Recording(
        spikes=SpikeEvents(times, units),
        unit_labels=first.unit_labels,
        start=first.start,
        stop=stop,
        markers=Markers(np.array([t for t, _ in marks], np.float64), tuple(m for _, m in marks)),
        series=series,
        name=first.name,
    )


def _join(parts: list[Recording], stop: float) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    events = [p.spikes for p in parts if isinstance(p.spikes, SpikeEvents)]
    times = np.concatenate([e.times for e in events])
    units = np.concatenate([e.units for e in events])
    return times[times < stop], units[times < stop]


def steps(seconds: float) -> int:
    """Return the number of whole steps nearest to so many seconds."""
    return round(seconds / STEP)


def check_positive(**values: float) -> None:
    """Refuse settings that are not above zero.

    Raises
    ------
    RecordingError
        Naming the setting and its value.
    """
    for name, value in values.items():
        if not value > 0 or not np.isfinite(value):
            raise RecordingError(f"cannot simulate with {name} = {value}: it must be above zero")


def check_interval(name: str, interval: tuple[float, float]) -> None:
    """Refuse an interval of seconds that is negative or upside down.

    Raises
    ------
    RecordingError
        Naming the setting and its value.
    """
    low, high = interval
    if not 0 <= low <= high < np.inf:
        raise RecordingError(
            f"cannot simulate with {name} = {interval}: give the shortest and the longest, seconds"
        )
