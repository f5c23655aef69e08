"""The task's rules, the subject, and what is done to both."""

import math
from dataclasses import replace

import numpy as np
import pytest

from bci_lfads.closed_loop.feedback import PerfectFeedback
from bci_lfads.closed_loop.offline import calibrate, close_loop
from bci_lfads.closed_loop.rig import LOOP_STEP, RigSettings, VirtualRig
from bci_lfads.closed_loop.scores import score
from bci_lfads.closed_loop.subject import (
    LATENTS,
    Perturbation,
    Subject,
    SubjectSettings,
    population,
)
from bci_lfads.closed_loop.task import Reach, Task, TaskSettings
from bci_lfads.errors import RecordingError

TASK = TaskSettings(n_targets=4, distance=4.0, radius=1.0, hold=0.05, timeout=1.0, rest=0.1)


def shown(task):
    """Run a task's rest, and return the step at which its target appeared."""
    now = 0
    while task.target is None:
        task.look(np.zeros(2), now)
        now += 1
    return now - 1


def test_a_target_is_reached_when_the_cursor_stayed_in_it():
    task = Task(TASK, LOOP_STEP, 0)
    at = shown(task)
    assert at == 10
    toward = task.target / 4.0
    path = [1.0, 2.0, 3.5, 4.5, 5.5, 4.5, 4.2, 4.1, 4.0, 4.0, 4.0]  # in, out, and in to stay
    for k, distance in enumerate(path):
        markers = task.look(distance * toward, at + 1 + k)
        assert markers == (("trial/success", "trial/end") if k == len(path) - 1 else ())
    (reach,) = task.reaches
    assert reach.success
    assert reach.time == pytest.approx(0.06)  # the sixth step after it appeared
    assert reach.efficiency == pytest.approx(4.5 / 6.5)
    assert task.target is None


def test_time_runs_out():
    task = Task(TASK, LOOP_STEP, 0)
    at = shown(task)
    for k in range(1, 100):
        assert not task.look(np.zeros(2), at + k)
    assert task.look(np.zeros(2), at + 100) == ("trial/timeout", "trial/end")
    assert not task.reaches[0].success
    assert math.isnan(task.reaches[0].time)


def test_every_direction_comes_once_in_a_round():
    rig = close_loop(VirtualRig(RigSettings(task=TASK), seed=3), PerfectFeedback(), 10.0)
    directions = [r.direction for r in rig.reaches[:12]]
    for first in (0, 4, 8):
        assert sorted(directions[first : first + 4]) == [0, 90, 180, 270]


def test_the_subject_intends_towards_the_target_late_and_no_faster_than_it_can():
    settings = SubjectSettings(gain=2.0, top_speed=5.0, visual_delay=0.03, inertia=0.05)
    subject = Subject(settings, LOOP_STEP, 0)
    target = np.array([0.0, 8.0])
    speeds = []
    for _ in range(60):
        subject.look(np.zeros(2), target)
        speeds.append(subject.intention.copy())
    speeds = np.array(speeds)
    assert not speeds[:3].any(), "it has not seen the target yet"
    assert (speeds[3:, 1] > 0).all()
    assert speeds[-1, 1] == pytest.approx(5.0, abs=1e-3)
    assert not speeds[:, 0].any()
    steps = 1 - speeds[3:, 1] / 5.0
    np.testing.assert_allclose(steps, np.exp(-LOOP_STEP / 0.05 * np.arange(1, 58)), rtol=1e-9)
    for _ in range(100):
        subject.look(target - 1.0, target)
    np.testing.assert_allclose(subject.intention, [2.0, 2.0], atol=1e-6)


def test_units_are_tuned_and_fire_at_the_rate_asked_for():
    settings = SubjectSettings(n_units=400)
    units = population(settings, Perturbation())
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, 20_000)
    size = rng.uniform(0, 0.8, 20_000) * (rng.random(20_000) < 0.5)
    latents = np.stack(
        [size * np.cos(angle), size * np.sin(angle), size, rng.standard_normal(20_000)], axis=1
    )
    assert units.rates(latents).mean() == pytest.approx(settings.rate, rel=0.1)
    preferred = np.arctan2(units.loading[:, 1], units.loading[:, 0])
    assert abs(np.exp(1j * preferred).mean()) < 0.15, "directions are spread evenly"


def test_lost_units_are_silent_and_drifted_ones_turned():
    settings = SubjectSettings(n_units=40)
    whole = population(settings, Perturbation())
    some, more = (population(settings, Perturbation(lost=p)) for p in (0.25, 0.5))
    latents = np.zeros((1, len(LATENTS)))
    silent = [np.flatnonzero(p.rates(latents)[0] == 0) for p in (some, more)]
    assert [len(s) for s in silent] == [10, 20]
    assert set(silent[0]) < set(silent[1])
    turned = population(settings, Perturbation(drift=30.0))
    np.testing.assert_allclose(
        np.hypot(*turned.loading.T[:2]), np.hypot(*whole.loading.T[:2]), rtol=1e-12
    )
    angles = [np.arctan2(p.loading[:, 1], p.loading[:, 0]) for p in (whole, turned)]
    by = np.degrees(np.angle(np.exp(1j * (angles[1] - angles[0]))))
    assert 20 < by.std() < 40
    np.testing.assert_array_equal(turned.loading[:, 2:], whole.loading[:, 2:])


def test_a_rotation_turns_movements_and_the_cursor_stays_at_rest():
    rig = VirtualRig(RigSettings(task=TASK), Perturbation(rotation=90.0), 0)
    for _ in range(5):
        rig.step(np.array([1.0, 0.0]))
    np.testing.assert_array_equal(rig.cursor, [0, 0])
    while rig.task.target is None:
        rig.step(np.zeros(2))
    rig.step(np.array([1.0, 0.0]))
    np.testing.assert_allclose(rig.cursor, [0, 1], atol=1e-12)
    rig.step(np.array([np.nan, np.nan]))
    np.testing.assert_allclose(rig.cursor, [0, 1], atol=1e-12)
    for _ in range(40):
        rig.step(np.array([1.0, 0.0]))
    assert rig.cursor[1] == 15.0, "it stays on the screen"


def test_delay_is_kept_to_the_step():
    class Once:
        """Moves the cursor once, by what was decoded from the step at which a target appeared."""

        def __init__(self):
            self.done = None

        def decode(self, step, rig):
            if "trial/start" in step.markers and self.done is None:
                self.done = step.number
                return np.array([100.0, 0.0])
            seen.append((step.number, float(rig.cursor[0])))
            return np.zeros(2)

    for delay, steps in ((0.0, 1), (0.01, 2), (0.025, 4), (0.1, 11)):
        seen = []
        feedback = Once()
        rig = VirtualRig(RigSettings(task=TASK), Perturbation(delay=delay))
        close_loop(rig, feedback, 0.5)
        moved = next(number for number, x in seen if x == 1.0)
        assert moved - feedback.done == steps


def test_a_calibration_is_what_it_says():
    recording = calibrate(20.0, seed=4)
    again, other = calibrate(20.0, seed=4), calibrate(20.0, seed=5)
    np.testing.assert_array_equal(recording.spikes.times, again.spikes.times)
    assert recording.n_spikes != other.n_spikes
    assert recording.duration == 20.0
    behaviour, intention = (recording.series[s].values for s in ("behaviour", "intention"))
    times = recording.series["behaviour"].times
    np.testing.assert_allclose(times, (np.arange(2000) + 0.5) * LOOP_STEP)
    off = behaviour[:, 2:] - intention
    assert 1.0 < off.std() < 3.0, "something disturbs it"
    # The cursor of a step is where the velocity of the step before moved it.
    starts = recording.markers.times[np.array(recording.markers.labels) == "trial/start"]
    k = round(starts[1] / LOOP_STEP)
    moved = behaviour[k, :2] + np.cumsum(behaviour[k : k + 20, 2:], axis=0) * LOOP_STEP
    np.testing.assert_allclose(behaviour[k + 1 : k + 21, :2], moved, atol=1e-4)
    with pytest.raises(RecordingError, match="records nothing"):
        calibrate(0.0)


def test_scores():
    won = Reach(0.0, 1.0, True, 0.5, 0.9)
    found = score([won, replace(won, time=0.7, efficiency=0.7), Reach(0, 2, False, np.nan, np.nan)])
    assert (found.reaches, found.time, found.efficiency) == (3, 0.6, 0.8)
    assert found.success == pytest.approx(2 / 3)
    # Wilson's interval of 2 of 3 at 95 %.
    assert (found.success_low, found.success_high) == pytest.approx((0.2077, 0.9385), abs=1e-3)
    assert score([]).reaches == 0
    assert math.isnan(score([]).success)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Perturbation(lost=1.5), "lost is 1.5; expected 0 to 1"),
        (lambda: Perturbation(delay=-0.1), "delay is -0.1"),
        (lambda: Perturbation(rotation=math.nan), "rotation is nan"),
        (lambda: SubjectSettings(visual_delay=9), "visual_delay is 9 s"),
        (lambda: SubjectSettings(gain=0), "gain = 0"),
        (lambda: TaskSettings(hold=-1), "hold = -1"),
    ],
)
def test_impossible_settings_are_said(make, message):
    with pytest.raises(RecordingError, match=message):
        make()
