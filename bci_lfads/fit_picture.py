"""The report of a training: what went in, what came out on trials not trained on, how it went."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bci_lfads.errors import BciLfadsError
from bci_lfads.models.scores import SMOOTHING, decode, psths
from bci_lfads.models.training_data import independent
from bci_lfads.samples import subset
from bci_lfads.scoring import Asked, series_at

if TYPE_CHECKING:
    from bci_lfads.fitting import Fitted

FORMATS = (".png", ".pdf", ".svg", ".html")
_MEASURED, _OURS = "0.6", "#c1440e"
_NAMED_FACTORS = 10
_PSTH_UNITS, _MOST_CONDITIONS, _SHOWN_TRIALS = 4, 6, 6


def check_format(path: Path | None) -> None:
    """Refuse a report in a format that is not one of `FORMATS`.

    Raises
    ------
    BciLfadsError
        Naming them.
    """
    if path is not None and path.suffix.lower() not in FORMATS:
        raise BciLfadsError(f"{path}: reports are written as {', '.join(FORMATS)}")


def report(fitted: Fitted, path: Path, asked: Asked | None = None) -> None:
    """Write the report: a picture, or a page with the picture, the scores and the provenance.

    Parameters
    ----------
    fitted
        What was trained.
    path
        One of `FORMATS`.
    asked
        What was scored.

    Raises
    ------
    BciLfadsError
        For another format.
    OSError
        If the file cannot be written.
    """
    check_format(path)
    figure = draw(fitted, asked or Asked())
    if path.suffix.lower() != ".html":
        figure.savefig(path, dpi=110)
        return
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    path.write_text(_page(fitted, picture.getvalue()), "utf-8")


def draw(fitted: Fitted, asked: Asked) -> Figure:
    """Return the picture."""
    figure = Figure(figsize=(16, 9), layout="constrained")
    above, below = figure.subfigures(2, 1, squeeze=False).ravel()
    shown = _typical(fitted)
    order = _by_peak(fitted.log_rates[shown])
    counts, rates, factors = above.subplots(1, 3)
    _counts(counts, fitted, shown, order)
    _rates(rates, fitted, shown, order)
    _factors(factors, fitted, shown)
    left, middle, right = below.subfigures(1, 3, squeeze=False, width_ratios=[5, 5, 4]).ravel()
    left.suptitle(
        f"PSTHs: wide measured, smoothed by {1e3 * SMOOTHING:g} ms; thin inferred", fontsize=10
    )
    _psths(left.subplots(2, 2).ravel().tolist(), fitted)
    _read_out(middle.subplots(), fitted, asked)
    _losses(right.subplots(), fitted)
    scores = ", ".join(
        f"{_shown(name)} {value:.3f}"
        for name, value in fitted.scores.as_dict().items()
        if isinstance(value, float) and name != "behaviour_lag"
    )
    name = fitted.data.recording.name or "recording"
    figure.suptitle(
        f"{name}: {len(fitted.log_rates)} validation windows of "
        f"{len(fitted.data.batch.counts)}\n{scores}",
        fontsize=13,
    )
    return figure


def _shown(name: str) -> str:
    words = name.replace("co_smoothing", "co-smoothing").replace("_", " ")
    return words.replace("psth", "PSTH").replace("r2", "R²")


def _typical(fitted: Fitted) -> int:
    """Return the validation window whose number of spikes is the median."""
    totals = fitted.data.validation.sum(axis=(1, 2), dtype=np.int64)
    return int(np.argsort(totals, kind="stable")[len(totals) // 2])


def _by_peak(log_rates: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.asarray(np.argsort(log_rates.argmax(axis=0), kind="stable"), np.int64)


def _times(fitted: Fitted, n_bins: int) -> NDArray[np.float64]:
    """Return the bins' middles, ms from the alignment."""
    alignment = fitted.model.alignment
    offset = alignment.offset if alignment else 0.0
    return np.asarray(1e3 * (offset + fitted.model.bin_width * (np.arange(n_bins) + 0.5)))


def _extent(fitted: Fitted, n_bins: int, n_units: int) -> tuple[float, float, float, float]:
    times, half = _times(fitted, n_bins), 500 * fitted.model.bin_width
    return float(times[0] - half), float(times[-1] + half), n_units, 0


def _counts(axes: Axes, fitted: Fitted, shown: int, order: NDArray[np.int64]) -> None:
    counts = fitted.data.validation[shown]
    most = max(1, int(counts.max()))
    image = axes.imshow(
        counts.T[order], aspect="auto", cmap="Greys", interpolation="none", vmin=0, vmax=most,
        extent=_extent(fitted, *counts.shape),
    )  # fmt: skip
    ticks = range(0, most + 1, max(1, most // 5))
    axes.figure.colorbar(image, ax=axes, label="spikes per bin", ticks=ticks)
    row = int(fitted.data.parts.validation[shown])
    trial = int(fitted.data.batch.trials[row])
    what = f"trial {trial}" if trial >= 0 else f"window {row}"
    axes.set(title=f"Spikes, {what}", xlabel="time, ms", ylabel="unit, by inferred peak")


def _rates(axes: Axes, fitted: Fitted, shown: int, order: NDArray[np.int64]) -> None:
    rates = np.exp(fitted.log_rates[shown])
    image = axes.imshow(
        rates.T[order], aspect="auto", cmap="magma", interpolation="none", vmin=0,
        vmax=float(np.percentile(rates, 99.5)), extent=_extent(fitted, *rates.shape),
    )  # fmt: skip
    axes.figure.colorbar(image, ax=axes, label="Hz", extend="max")
    axes.set(title="Inferred rates of these spikes", xlabel="time, ms", ylabel="unit")


def _factors(axes: Axes, fitted: Fitted, shown: int) -> None:
    factors = fitted.factors[shown]
    times = _times(fitted, len(factors))
    n_factors = factors.shape[1]
    few = n_factors <= _NAMED_FACTORS
    places = np.arange(n_factors) if few else np.linspace(0, 1, n_factors)
    colours = colormaps["tab10" if few else "turbo"](places)
    for k, values in enumerate(factors.T):
        axes.plot(times, values, color=colours[k], label=f"factor_{k}")
    axes.margins(x=0)
    if few:
        axes.legend(fontsize=8, ncols=2)
    axes.set(title=f"{n_factors} factors of these spikes", xlabel="time, ms", ylabel="a.u.")


def _psths(panels: list[Axes], fitted: Fitted) -> None:
    counts, width = fitted.data.validation, fitted.model.bin_width
    rates = psths(fitted.log_rates, counts, fitted.conditions, width)
    names = sorted(set(fitted.conditions))
    modulation = rates.measured.std(axis=(0, 1))
    units = np.argsort(-modulation, kind="stable")[:_PSTH_UNITS]
    times = _times(fitted, counts.shape[1])
    colours = colormaps["viridis"](np.linspace(0, 0.85, min(len(names), _MOST_CONDITIONS)))
    for axes in panels[len(units) :]:
        axes.set_axis_off()
    for place, unit in enumerate(units.tolist()):
        axes = panels[place]
        for k, colour in enumerate(colours):
            axes.plot(times, rates.measured[k, :, unit], color=colour, lw=3, alpha=0.35)
            axes.plot(times, rates.inferred[k, :, unit], color=colour, lw=1.2, label=names[k])
        axes.margins(x=0)
        axes.set_ylim(bottom=0)
        axes.set_title(fitted.model.unit_labels[unit], fontsize=9)
        axes.tick_params(labelsize=8)
        axes.set_ylabel("Hz" if place % 2 == 0 else "")
        axes.set_xlabel("time, ms" if place >= 2 else "")
    if len(names) > 1:
        _legend_below(panels[0], len(colours) if len(colours) < 4 else (len(colours) + 1) // 2)


def _read_out(axes: Axes, fitted: Fitted, asked: Asked) -> None:
    """Draw known latents or behaviour read out of the factors; without them, the factors."""
    recording = fitted.data.recording
    held = subset(fitted.data.batch, fitted.data.parts.validation)
    n_bins = held.counts.shape[1]
    apart = independent(held.starts, n_bins * held.bin_width)
    for name, lag in ((asked.latents, 0.0), (asked.behaviour, asked.lag)):
        series = recording.series.get(name)
        if series is None or not len(series.times):
            continue
        targets = series_at(recording, name, held)
        good = apart[np.isfinite(targets[apart]).all(axis=(1, 2))]
        if len(good) < 4:
            continue
        true, found = decode(fitted.factors[good], targets[good], lag=round(lag / held.bin_width))
        n, n_shown = true.shape[2], min(_SHOWN_TRIALS, len(true))
        spread = 5.0 * true.std(axis=(0, 1))
        spread[spread == 0] = 1.0
        gap = max(1, true.shape[1] // 10)
        for trial in range(n_shown):
            at = 1e-3 * _times(fitted, true.shape[1])[:1] + held.bin_width * (
                np.arange(true.shape[1]) + trial * (true.shape[1] + gap)
            )
            first = trial == 0
            for k in range(n):
                level = true[..., k].mean()
                axes.plot(at, (true[trial, :, k] - level) / spread[k] - k, color=_MEASURED, lw=3,
                          label="known" if first and k == 0 else None)  # fmt: skip
                axes.plot(at, (found[trial, :, k] - level) / spread[k] - k, color=_OURS, lw=1.2,
                          label="from factors" if first and k == 0 else None)  # fmt: skip
        axes.set_yticks(range(0, -n, -1), series.labels, fontsize=8)
        _legend_below(axes, 2)
        axes.margins(x=0.01)
        axes.set(
            title=f"{name.capitalize()} of {n_shown} trials, by maps that saw others",
            xlabel="time, s (trials side by side)",
        )
        return
    names = sorted(set(fitted.conditions))
    colours = colormaps["viridis"](np.linspace(0, 0.85, len(names)))
    flat = fitted.factors.reshape(-1, fitted.factors.shape[2])
    centred = flat - flat.mean(axis=0)
    basis = np.linalg.svd(centred.astype(np.float64), full_matrices=False)[2][:2]
    for trial in apart[: 10 * _SHOWN_TRIALS].tolist():
        path = (fitted.factors[trial] - flat.mean(axis=0)) @ basis.T
        y = path[:, 1] if path.shape[1] > 1 else np.arange(len(path))
        axes.plot(path[:, 0], y, lw=0.8, color=colours[names.index(fitted.conditions[trial])])
    axes.set(
        title="Factors, first two principal axes",
        xlabel="first axis, a.u.", ylabel="second axis, a.u.",
    )  # fmt: skip


def _legend_below(axes: Axes, n_columns: int) -> None:
    """Put what the axes' lines are called below all axes, where it hides none of them."""
    handles, labels = axes.get_legend_handles_labels()
    axes.figure.legend(
        handles, labels, loc="outside lower center", ncols=n_columns, fontsize=8, frameon=False
    )


def _losses(axes: Axes, fitted: Fitted) -> None:
    epochs = fitted.history.epochs
    x = [e.epoch for e in epochs]
    axes.plot(x, [e.training for e in epochs], color="0.4", label="training, unseen counts")
    axes.plot(x, [e.validation for e in epochs], color=_OURS, label="validation")
    if epochs[-1].samples is not None:
        axes.plot(x, [e.judged for e in epochs], color="#1f6f8b", label="samples never shown")
    best = fitted.history.best_epoch
    axes.plot(best.epoch, best.judged, "o", color=_OURS, label=f"kept: epoch {best.epoch}")
    axes.legend(fontsize=8)
    axes.set(
        title=f"Negative log-likelihood\n({fitted.history.ended})", xlabel="epoch",
        ylabel="nats a count, without constant",
    )  # fmt: skip


def _page(fitted: Fitted, picture: bytes) -> str:
    model = fitted.model
    facts = {
        "model": model.hash,
        "sizes": f"{model.spec.n_units} units, {model.spec.n_bins} bins of "
        f"{1e3 * model.bin_width:g} ms, {model.spec.n_factors} factors",
        **dict(model.provenance),
        **{f"to look at, {i}": fault for i, fault in enumerate(fitted.data.faults, 1)},
    }
    encoded = base64.b64encode(picture).decode()
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>'
        f"{html.escape(fitted.data.recording.name or 'training')}</title>\n"
        "<style>body{font-family:sans-serif;margin:2em;max-width:110em}img{width:100%}"
        "td{padding:.2em 1em .2em 0;vertical-align:top;overflow-wrap:anywhere}</style>\n"
        f'<img alt="report of the training" src="data:image/png;base64,{encoded}">\n'
        f"{_table(facts)}</html>\n"
    )


def _table(facts: Mapping[str, str]) -> str:
    rows = (f"<tr><td>{html.escape(k)}<td>{html.escape(v)}" for k, v in facts.items())
    return "<table>\n" + "\n".join(rows) + "\n</table>\n"
