"""From a short recording of today to a model for today's units (extra ``torch``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bci_lfads.errors import RecordingError
from bci_lfads.models.model import Model
from bci_lfads.offline import cut
from bci_lfads.parts import windows_for
from bci_lfads.recordings import Recording
from bci_lfads.rig import SlidingSettings, TrialSettings
from bci_lfads.windows import stack, windows_of

if TYPE_CHECKING:
    from bci_lfads.models.realign import Realigned, RealignSettings, Step

_FEWEST = 10


@dataclass(frozen=True)
class RealignData:
    """Whole windows of today and of the reference, uint8 ``(n_windows, n_bins, n_units)``."""

    today: NDArray[np.uint8]
    unit_labels: tuple[str, ...]
    reference: NDArray[np.uint8]


def prepare_realign(
    model: Model,
    today: Recording,
    reference: Recording,
    window: TrialSettings | SlidingSettings | None = None,
    unit_map: Mapping[str, str] | None = None,
    units: tuple[str, ...] | None = None,
) -> RealignData:
    """Cut both recordings as the loop would.

    Parameters
    ----------
    model
        As trained.
    today
        A short recording of today, of the same task; no labels or behaviour are needed.
    reference
        What the model was trained on, or the like of it, with the model's units.
    window
        A rig's ``[window]``; default: as the model was trained.
    unit_map
        Of the reference's units, as for `bci_lfads.offline.cut`.
    units
        Today's units to use; default: all.

    Raises
    ------
    RecordingError
        If either gives fewer than ten whole windows.
    """
    if window is None and model.alignment is not None:
        window = TrialSettings(mode="trials", **model.alignment.model_dump())
    if window is None:
        window = SlidingSettings(mode="sliding", hop=max(1, model.spec.n_bins // 5))
    today = today if units is None else today.select(units)
    cut_today = stack(
        windows_of(
            today,
            windows_for(
                window, today.n_units, model.spec.n_bins, model.bin_width, today.n_spikes + 1
            ),
        )
    )
    cut_reference = cut(reference, model, window, unit_map)
    whole = [b.counts[~b.truncated] for b in (cut_today, cut_reference)]
    for recording, counts in zip((today, reference), whole, strict=True):
        if len(counts) < _FEWEST:
            raise RecordingError(
                f"{recording.name or 'the recording'} gives {len(counts)} whole windows; a "
                f"distribution takes at least {_FEWEST}, better some tens"
            )
    return RealignData(whole[0], today.unit_labels, whole[1])


def realign_model(
    model: Model,
    data: RealignData,
    settings: RealignSettings | None = None,
    *,
    on_step: Callable[[Step], None] | None = None,
) -> Realigned:
    """Refit the read-in and the read-out; see `bci_lfads.models.realign.realign`."""
    from bci_lfads.models.realign import realign

    return realign(model, data.today, data.unit_labels, data.reference, settings, on_step=on_step)
