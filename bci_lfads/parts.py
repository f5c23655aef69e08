"""The parts that a rig asks for: windows, inlets and the model, made the same everywhere."""

from __future__ import annotations

import logging

from bci_lfads.about import unit_rates
from bci_lfads.errors import RigError, StreamError
from bci_lfads.models.masking import mask_units
from bci_lfads.models.model import Model
from bci_lfads.rig import Rig, SlidingSettings, TrialSettings, masked_units
from bci_lfads.streams.markers import MarkerInlet
from bci_lfads.streams.spikes import SpikeInlet
from bci_lfads.streams.unit_map import expand_units
from bci_lfads.windows import SlidingWindows, TrialWindows, Windows

log = logging.getLogger(__name__)

_MARKER_DELAY = 5.0
"""Seconds after a window's end within which its marker may still come."""

_HORIZON = 2.0
"""Seconds ahead of now for which a sliding window has bins."""


def make_windows(
    window: TrialSettings | SlidingSettings, model: Model, capacity: int, hold_off: float
) -> Windows:
    """Return the windows that a rig file asks for, the same online and offline.

    Parameters
    ----------
    window
        The rig's ``[window]``.
    model
        Its units, bins and bin width.
    capacity
        Spikes that the history of trials holds.
    hold_off
        Seconds by which spikes are ahead of the bins that are closed, always.
    """
    spec = model.spec
    return windows_for(window, spec.n_units, spec.n_bins, model.bin_width, capacity, hold_off)


def windows_for(
    window: TrialSettings | SlidingSettings,
    n_units: int,
    n_bins: int,
    bin_width: float,
    capacity: int,
    hold_off: float = 0.0,
) -> Windows:
    """Return what `make_windows` does, before there is a model: to train one."""
    if isinstance(window, SlidingSettings):
        return SlidingWindows(
            n_units, n_bins, bin_width, hop=window.hop, horizon=_HORIZON + hold_off
        )
    return TrialWindows(
        n_units, n_bins, bin_width,
        start=window.start, align=window.align, offset=window.offset, abort=window.abort,
        lookback=_lookback(window, n_bins * bin_width), capacity=capacity,
    )  # fmt: skip


def lookback(window: TrialSettings, model: Model) -> float:
    """Return for how long spikes are remembered: a window, and as long as its marker is late."""
    return _lookback(window, model.spec.n_bins * model.bin_width)


def _lookback(window: TrialSettings, length: float) -> float:
    return length + max(0.0, -window.offset) + _MARKER_DELAY


def as_masked(rig: Rig, model: Model) -> Model:
    """Return the model as it runs in this rig: without the units that it masks."""
    masked, rates = masked_units(rig, model.unit_labels), unit_rates(model)
    if masked and rates is None:
        log.warning(
            "the model does not say its units' mean rates; those that are masked (%s) are taken "
            "for silent", ", ".join(masked),
        )  # fmt: skip
    return mask_units(model, masked, rates)


def spike_inlet(rig: Rig, model: Model) -> SpikeInlet:
    """Return the inlet for a rig's spikes, not yet connected."""
    asked = rig.input.spikes
    return SpikeInlet(
        asked.properties(), model.unit_labels, model.bin_width,
        unit_map=rig.input.units, form=asked.format, declared_unit=asked.declared_unit,
        timestamp_reference=asked.timestamp_reference, max_rate=asked.max_rate,
        optional=masked_units(rig, model.unit_labels), hosts=asked.hosts,
    )  # fmt: skip


def marker_inlet(rig: Rig) -> MarkerInlet | None:
    """Return the inlet for a rig's markers, not yet connected; None for a sliding window."""
    if rig.input.markers is None or isinstance(rig.window, SlidingSettings):
        return None
    return MarkerInlet(rig.input.markers.properties(), hosts=rig.input.markers.hosts)


def check_fit(rig: Rig, model: Model) -> None:
    """Refuse a rig whose settings do not fit the model.

    Raises
    ------
    RigError
        Naming the setting.
    """
    masked_units(rig, model.unit_labels)
    try:
        expand_units(model.unit_labels, rig.input.units)
    except StreamError as error:
        raise RigError(str(error)) from error
    window = rig.window
    if isinstance(window, SlidingSettings) and window.hop > model.spec.n_bins:
        raise RigError(
            f"window.hop is {window.hop} bins; the model's window has {model.spec.n_bins}, so bins "
            f"would be left out; choose a hop of at most {model.spec.n_bins}"
        )
