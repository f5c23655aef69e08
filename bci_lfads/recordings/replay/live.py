"""A recording on LSL: sources made, consumers waited for, the recording pushed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import numpy as np
import pylsl
from numpy.typing import NDArray

from bci_lfads.about import read_message
from bci_lfads.errors import StreamError
from bci_lfads.recordings.recording import BinnedCounts, Recording
from bci_lfads.recordings.replay.control import ReplayControl
from bci_lfads.recordings.replay.replayer import Replayer, ReplayProgress, ReplayReport
from bci_lfads.recordings.replay.schedule import Format
from bci_lfads.streams.sources import MarkerSource, SpikeSource

_SETTLE = 1.0  # seconds after a consumer came, for it to measure the clocks and begin its bins
_DRAIN = 1.0  # seconds for which the streams stay after the end, so that nothing is cut off


class StatusFollower:
    """Reads from a rig's Status stream how far it is.

    Parameters
    ----------
    rig
        The rig's name.
    timeout
        Seconds to wait for its stream.

    Raises
    ------
    StreamError
        If the rig publishes no status.
    """

    def __init__(self, rig: str, timeout: float = 10.0) -> None:
        name = f"{rig} Status"
        found = pylsl.resolve_byprop("name", name, 1, timeout)
        if not found:
            raise StreamError(
                f"no stream '{name}' within {timeout:g} s; start `bci-lfads run` of that rig "
                f"first, or replay at a number instead of 'max'"
            )
        self._inlet = pylsl.StreamInlet(found[0])
        self._inlet.open_stream(timeout)
        self._watermark: float | None = None

    def __call__(self) -> float | None:
        """Return the stamp up to which the rig has closed bins, as of its newest message."""
        messages, _ = self._inlet.pull_chunk(0.0)
        if messages and (message := read_message(messages[-1][0])):
            self._watermark = message.get("watermark")
        return self._watermark


def replay(
    recording: Recording,
    *,
    spikes: str,
    markers: str | None,
    form: Format | None = None,
    bin_width: float | None = None,
    speed: float | Literal["max"] = 1.0,
    follow: str | None = None,
    loop: bool = False,
    wait: float = 0.0,
    control: ReplayControl | None = None,
    on_ready: Callable[[], None] | None = None,
    on_progress: Callable[[ReplayProgress], None] | None = None,
    on_push: Callable[[NDArray[np.float64], float], None] | None = None,
) -> ReplayReport:
    """Replay a recording on LSL.

    Parameters
    ----------
    recording
        What to replay.
    spikes, markers
        Names of the streams; no markers stream where that is None.
    form
        Format of the spikes; default ``events``, or ``counts`` where the recording holds counts.
    bin_width
        Of counts, seconds.
    speed
        1 with stamps on the LSL clock; another number, or ``max`` for as fast as the consumer
        takes it, with stamps that keep the recording's intervals.
    follow
        For ``max``: the rig that consumes.
    loop
        Whether to begin again at the end.
    wait
        Seconds to wait for consumers of each stream before the start; 0 does not wait.
    control
        Orders from another thread.
    on_ready
        Called when the streams are there, before the wait.
    on_progress
        Called about ten times a second; it must be quick.
    on_push
        Called after each push of spikes with their stamps and the LSL time at which it began.

    Raises
    ------
    RecordingError
        Where format or bin width do not fit the recording.
    StreamError
        Where no consumer comes, or the one that is followed makes no progress.
    """
    counts = isinstance(recording.spikes, BinnedCounts)
    form = form or ("counts" if counts else "events")
    if speed == "max" and follow is None:
        raise StreamError("a replay at 'max' speed follows a rig; say which: --follow RIG")
    width = bin_width
    if form == "counts" and width is None and isinstance(recording.spikes, BinnedCounts):
        width = recording.spikes.bin_width
    # Refuses what does not fit before any stream appears on the network.
    Replayer(recording, None, None, form=form, bin_width=width)
    base: Literal["lsl", "stream"] = "lsl" if speed == 1 else "stream"
    spike_source = SpikeSource(
        spikes, recording.unit_labels, form, bin_width=width if form == "counts" else None,
        time_base=base,
    )  # fmt: skip
    marker_source = MarkerSource(markers, time_base=base) if markers else None
    try:
        if on_ready is not None:
            on_ready()
        for name, source in ((spikes, spike_source), (markers, marker_source)):
            if wait > 0 and source is not None and not source.wait_for_consumer(wait):
                raise StreamError(f"no one listens to '{name}' after {wait:g} s")
        if wait > 0:
            time.sleep(_SETTLE)
        progress = StatusFollower(follow) if speed == "max" and follow else None
        replayer = Replayer(
            recording, spike_source, marker_source, form=form, bin_width=width, speed=speed,
            loop=loop, progress=progress, on_progress=on_progress, on_push=on_push,
        )  # fmt: skip
        report = replayer.run(control)
        _drain(report.last_stamp if speed == 1 else -math.inf)
        return report
    finally:
        spike_source.close()
        if marker_source is not None:
            marker_source.close()


def _drain(last: float) -> None:
    time.sleep(_DRAIN + max(0.0, min(last - pylsl.local_clock(), _DRAIN)))


def replay_blocks(
    blocks: Iterator[Recording],
    *,
    spikes: str,
    markers: str | None,
    form: Literal["events", "ids"] = "events",
    wait: float = 0.0,
    control: ReplayControl | None = None,
    on_progress: Callable[[float, int], None] | None = None,
) -> tuple[float, int]:
    """Push blocks that follow each other without a gap, such as an endless simulation.

    While one block is played, a thread of its own makes the next.

    Parameters
    ----------
    blocks
        Each begins where the one before stops.
    spikes, markers, form, wait, control
        As of `replay`.
    on_progress
        Called after each block with the seconds and spikes played.

    Returns
    -------
    seconds, n_spikes
        Played in all.
    """
    control = control or ReplayControl()
    block = next(blocks)
    first = block.start
    spike_source = SpikeSource(spikes, block.unit_labels, form)
    marker_source = MarkerSource(markers) if markers else None
    played, n_spikes = 0.0, 0
    try:
        if wait > 0 and not spike_source.wait_for_consumer(wait):
            raise StreamError(f"no one listens to '{spikes}' after {wait:g} s")
        if wait > 0:
            time.sleep(_SETTLE)
        shift = pylsl.local_clock() + 0.1 - first
        with ThreadPoolExecutor(1, "simulation") as pool:
            while not control.stopped:
                following = pool.submit(next, blocks, None)
                report = Replayer(
                    block, spike_source, marker_source, form=form, bounds=False,
                    start_at=block.start + shift,
                ).run(control)  # fmt: skip
                played, n_spikes = block.stop - first, n_spikes + report.n_spikes
                if on_progress is not None:
                    on_progress(played, n_spikes)
                made = following.result()
                if made is None:
                    break
                # A pause moved the rest on.
                shift = report.last_stamp - block.stop if not report.stopped else shift
                block = made
        return played, n_spikes
    finally:
        spike_source.close()
        if marker_source is not None:
            marker_source.close()
