"""What closes the loop on a virtual clock: production binning, windows, engine and decoder."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bci_lfads.closed_loop.rig import LOOP_STEP, Step, VirtualRig
from bci_lfads.decoding.file import Decoder
from bci_lfads.engines import open_engine
from bci_lfads.engines.base import allocate
from bci_lfads.errors import DecoderError
from bci_lfads.models.model import Model
from bci_lfads.windows import SlidingWindows

VELOCITY = ("vx", "vy")


class Feedback(Protocol):
    """What closes the loop: spikes of a step in, the velocity that they mean out."""

    def decode(self, step: Step, rig: VirtualRig) -> NDArray[np.float64]:
        """Return the velocity, centimetres a second, shape ``(2,)``; NaN where there is none."""


class PerfectFeedback:
    """The intention itself: what the best of all decoders would give."""

    def decode(self, step: Step, rig: VirtualRig) -> NDArray[np.float64]:
        """Return the intended velocity."""
        return rig.subject.intention


class DecodedFeedback:
    """Spikes to a sliding window, to factors if the decoder takes those, to a velocity.

    Parameters
    ----------
    decoder
        With channels vx and vy, centimetres a second, fitted to factors or to counts of a sliding
        window that moves on by one bin of `LOOP_STEP`.
    model
        The decoder's.

    Raises
    ------
    DecoderError
        If the decoder is for another model, window or task.
    """

    def __init__(self, decoder: Decoder, model: Model) -> None:
        check_cursor(decoder)
        decoder.check_model(model.hash)
        spec = model.spec
        self._windows = SlidingWindows(spec.n_units, spec.n_bins, model.bin_width)
        self._windows.begin(0.0)
        self._engine = (
            open_engine("native", model, hop=1) if decoder.facts.input == "factors" else None
        )
        self._latents = (
            allocate(self._engine.info, log_rates=False) if self._engine is not None else None
        )
        self._newest = spec.n_bins - 1
        self._decoder = decoder.start()
        self._columns = [decoder.facts.channels.index(c) for c in VELOCITY]
        self._none = np.full(2, math.nan)

    def decode(self, step: Step, rig: VirtualRig) -> NDArray[np.float64]:
        """Return the velocity of the bin that ends with this step."""
        self._windows.push_spikes(step.times, step.units)
        velocity = self._none
        for window in self._windows.close((step.number + 1) * LOOP_STEP):
            row: NDArray[np.floating] | NDArray[np.uint8] = window.counts[self._newest]
            if self._engine is not None:
                factors = self._engine.infer(window.counts, out=self._latents).factors
                row = factors[self._newest]
            velocity = self._decoder(row)[self._columns]
        return velocity


def check_cursor(decoder: Decoder) -> None:
    """Refuse a decoder that cannot move this cursor.

    Raises
    ------
    DecoderError
        Saying what it would have to be.
    """
    facts = decoder.facts
    if not set(VELOCITY) <= set(facts.channels):
        raise DecoderError(
            f"the cursor is moved by channels vx and vy; the decoder gives "
            f"{', '.join(facts.channels)}"
        )
    if facts.mode != "sliding" or facts.hop != 1 or abs(facts.bin_width - LOOP_STEP) > 1e-9:
        raise DecoderError(
            f"the cursor moves every {1e3 * LOOP_STEP:g} ms; the decoder is for a {facts.mode} "
            f"window with a hop of {facts.hop} bins of {1e3 * facts.bin_width:g} ms"
        )
