"""A decoder run over a recording as it would run live, and what that is worth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci_lfads.decoding.classifier import classes_at, told_right
from bci_lfads.decoding.file import Decoder
from bci_lfads.decoding.rows import Rows, behaviour_at, rows_of
from bci_lfads.errors import DecoderError
from bci_lfads.models.model import Model
from bci_lfads.models.scores import r2
from bci_lfads.parts import as_masked
from bci_lfads.recordings import Recording
from bci_lfads.rig import Rig, SlidingSettings


def decode(decoder: Decoder, rows: Rows) -> NDArray[np.float64]:
    """Return what the decoder gives for each row, by the steps that it takes live.

    Returns
    -------
    ndarray
        float64, shape ``(n, n_channels)``.
    """
    running = decoder.start()
    found = np.empty((len(rows.values), len(decoder.facts.channels)))
    for k, (row, begins) in enumerate(zip(rows.values, rows.begins, strict=True)):
        if begins:
            running.reset()
        found[k] = running(row)
    return found


def score(
    decoder: Decoder,
    recording: Recording,
    rig: Rig,
    model: Model,
    interval: tuple[float, float] = (0.0, 0.5),
    *,
    on_progress: Callable[[float], None] | None = None,
) -> dict[str, Any]:
    """Compare what is decoded of a recording with what happened.

    Parameters
    ----------
    decoder
        The decoder.
    recording, rig, model
        As of `rows_of`; what the rig masks of the model is masked here.
    interval
        Of a classifier: seconds after a marker from which and until which its class holds.
    on_progress
        Called with the seconds of recording done.

    Raises
    ------
    DecoderError
        If the decoder is for another model or window, or there is nothing to compare with.
    """
    facts = decoder.facts
    model = as_masked(rig, model)
    decoder.check_model(model.hash)
    hop = rig.window.hop if isinstance(rig.window, SlidingSettings) else None
    if (facts.mode, facts.hop) != (rig.window.mode, hop):
        raise DecoderError(
            f"the decoder was fitted to a {facts.mode} window with a hop of {facts.hop}; the rig's "
            f"is {rig.window.mode}, {hop}"
        )
    rows = rows_of(recording, rig, model, facts.input, on_progress=on_progress)
    found = decode(decoder, rows)
    times = rows.stamps + facts.lag
    if facts.method == "direction":
        held = classes_at(recording, facts.behaviour, interval, times)
        if unknown := [label for label in held.labels if label not in facts.channels]:
            raise DecoderError(f"the decoder does not know the classes {', '.join(unknown)}")
        own = [facts.channels.index(label) for label in held.labels]
        return {"markers": held.n_markers, **told_right(found[:, own], held)}
    true, _ = behaviour_at(recording, facts.behaviour, facts.channels, times)
    whole = np.isfinite(true).all(axis=1)
    if whole.sum() < 2:
        raise DecoderError("none of the rows has behaviour; compare the times of both")
    each = r2(true[whole], found[whole]).each
    return {
        "rows": int(whole.sum()),
        "r2_mean": float(np.nanmean(each)),
        "r2": {c: round(float(v), 4) for c, v in zip(facts.channels, each, strict=True)},
    }
