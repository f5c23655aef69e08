"""The closed loop on a virtual clock: the production parts, faster than real time."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bci_lfads.closed_loop.feedback import Feedback
from bci_lfads.closed_loop.rig import LOOP_STEP, RigSettings, Step, VirtualRig
from bci_lfads.closed_loop.subject import LATENTS
from bci_lfads.errors import RecordingError
from bci_lfads.recordings.recording import Markers, Recording, Series, SpikeEvents

_DISTURBANCE = 2.0  # standard deviation of what pushes the cursor in a calibration, cm/s
_DISTURBANCE_TIME = 0.2  # its time constant, seconds


def close_loop(
    rig: VirtualRig,
    feedback: Feedback,
    seconds: float,
    *,
    path_delay: float = 0.0,
    on_progress: Callable[[float], None] | None = None,
) -> VirtualRig:
    """Run a closed loop on a virtual clock.

    What is decoded from a step is known at its end; it moves the cursor at the first step that
    begins no earlier than `path_delay` and the perturbation's delay after that.

    Parameters
    ----------
    rig
        A new one.
    feedback
        What decodes.
    seconds
        For how long.
    path_delay
        Seconds from the end of a bin to its behaviour decoded.
    on_progress
        Called once a simulated second.

    Returns
    -------
    VirtualRig
        The rig, with its reaches.
    """
    wait = math.ceil((path_delay + rig.perturbation.delay) / LOOP_STEP - 1e-9)
    due: deque[NDArray[np.float64]] = deque(np.zeros(2) for _ in range(wait))
    movement = np.zeros(2)
    for number in range(round(seconds / LOOP_STEP)):
        step = rig.step(movement)
        due.append(feedback.decode(step, rig) * LOOP_STEP)
        movement = due.popleft()
        if on_progress is not None and number % 100 == 99:
            on_progress((number + 1) * LOOP_STEP)
    return rig


def calibrate(
    seconds: float,
    settings: RigSettings | None = None,
    *,
    seed: int = 0,
    on_progress: Callable[[float], None] | None = None,
) -> Recording:
    """Record an observation block: the intention moves the cursor, and something disturbs it.

    The disturbance (an Ornstein-Uhlenbeck process) is what makes the subject correct itself, as it
    will have to with a decoder.

    Parameters
    ----------
    seconds
        Length.
    settings, seed
        As of `VirtualRig`.
    on_progress
        Called once a simulated second.

    Returns
    -------
    Recording
        Spike events; series ``behaviour`` (cursor, cm, and the velocity that moves it unless it is
        at rest, cm/s), ``intention`` (cm/s) and ``latents``, a sample a step at its middle; the
        task's markers.
    """
    if not LOOP_STEP <= seconds < math.inf:
        raise RecordingError(f"a calibration of {seconds} s records nothing")
    rig = VirtualRig(settings, seed=seed)
    rng = np.random.default_rng([seed, 5])
    n = round(seconds / LOOP_STEP)
    keep = math.exp(-LOOP_STEP / _DISTURBANCE_TIME)
    push = np.zeros(2)
    behaviour, intended = np.zeros((n, 4), np.float32), np.zeros((n, 2), np.float32)
    latents = np.zeros((n, len(LATENTS)), np.float32)
    steps: list[Step] = []
    velocity = np.zeros(2)
    for k in range(n):
        steps.append(rig.step(velocity * LOOP_STEP))
        push = keep * push + math.sqrt(1 - keep**2) * _DISTURBANCE * rng.standard_normal(2)
        velocity = rig.subject.intention + (push if rig.task.target is not None else 0.0)
        behaviour[k, :2], behaviour[k, 2:] = rig.cursor, velocity
        intended[k], latents[k] = rig.subject.intention, rig.subject.latents()
        if on_progress is not None and k % 100 == 99:
            on_progress((k + 1) * LOOP_STEP)
    times = np.asarray((np.arange(n) + 0.5) * LOOP_STEP, np.float64)
    marked = [(s.number * LOOP_STEP, label) for s in steps for label in s.markers]
    return Recording(
        SpikeEvents(
            np.concatenate([s.times for s in steps]), np.concatenate([s.units for s in steps])
        ),
        rig.unit_labels,
        0.0,
        n * LOOP_STEP,
        Markers(np.array([t for t, _ in marked], np.float64), tuple(m for _, m in marked)),
        {
            "behaviour": Series(times, behaviour, ("x", "y", "vx", "vy")),
            "intention": Series(times, intended, ("vx", "vy")),
            "latents": Series(times, latents, LATENTS),
        },
        f"observed centre-out reaches, seed {seed}",
    )
