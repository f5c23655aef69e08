"""All streams of a rig recorded to XDF, whenever they come, go and come back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pylsl

from bci_lfads.recordings.stream_recorder import FORGET, POLL, StreamRecorder
from bci_lfads.rig import Rig, TrialSettings
from bci_lfads.streams.connection import predicate

_OUTPUTS = "outputs"
_INPUTS = ("spikes", "markers")
_QUIET = 60  # looks without a sample after which a run that has ended has said all
_DRAIN = 5.0  # seconds to wait for that


class SessionRecorder(StreamRecorder):
    """Records what a rig takes in and gives out, and whatever else fits and comes later.

    Parameters
    ----------
    rig
        Whose streams.
    path, overwrite, clock
        As of `StreamRecorder`, and what it raises.
    drains
        Whether the run has ended when the recorder is told to: then what it published in its last
        moment may still be on its way, and is waited for.
    """

    def __init__(
        self,
        rig: Rig,
        path: Path,
        *,
        overwrite: bool = False,
        drains: bool = False,
        clock: Callable[[], float] = pylsl.local_clock,
    ) -> None:
        super().__init__(path, overwrite=overwrite, clock=clock)
        self._drains = drains
        window, markers = rig.window, rig.input.markers
        trials = isinstance(window, TrialSettings)
        asked = {"spikes": predicate(rig.input.spikes.properties())}
        if markers is not None:
            asked["markers"] = predicate(markers.properties())
        # The run's streams, and those of its decoder, triggers and virtual rig; see docs/lsl.md.
        asked[_OUTPUTS] = predicate({}, begins={"source_id": f"bci-lfads:{rig.name}:"})
        self._resolvers = {
            what: pylsl.ContinuousResolver(pred=pred, forget_after=FORGET)
            for what, pred in asked.items()
        }
        self._needed = {"spikes", "Status", "Latency", "Journal"}
        self._needed.add("TrialFactors" if trials else "Factors")
        self._needed |= {"markers"} if trials else set()
        self._needed |= {"Rates"} if rig.output.rates else set()

    def wanted(self) -> Iterator[tuple[str, pylsl.StreamInfo]]:
        """Return the spikes, the markers, and outputs by their last word."""
        for what, resolver in self._resolvers.items():
            for info in resolver.results():
                yield info.source_id().rsplit(":", 1)[-1] if what == _OUTPUTS else what, info

    @property
    def complete(self) -> bool:
        """Whether all that a rig always has is being recorded."""
        return self._needed <= self.recorded

    def drain(self) -> None:
        """Go on until the run's own streams are quiet; on a busy machine that takes a while."""
        until, quiet, before = self._clock() + _DRAIN, 0, -1
        while self._drains and quiet < _QUIET and self._clock() < until:
            time.sleep(POLL)
            self.step()
            taken = self.taken(without=_INPUTS)
            quiet, before = quiet + 1 if taken == before else 0, taken
