"""What is judged: lights, the state of a run, drift, latency, axes."""

import json
import math

import numpy as np
import pytest

from bci_lfads.drift import compare
from bci_lfads.errors import BciLfadsError
from bci_lfads_gui.model.health import Level, StreamFacts, StreamMeter, Trend, judge
from bci_lfads_gui.model.latency import histogram, summarise
from bci_lfads_gui.model.projection import fit, rotate
from bci_lfads_gui.model.run_state import parse, run_state
from bci_lfads_gui.model.store import OnNetwork
from bci_lfads_gui.palette import DARK, LIGHT, rgb
from bci_lfads_gui.panels.base import legend, shared_prefix
from bci_lfads_gui.panels.streams import pickable
from bci_lfads_gui.scale import for_height, wanted


def facts(**changes):
    given = {
        "role": "spikes", "name": "S", "required": True, "state": "open", "reason": "",
        "rate": 500.0, "age": 0.01, "received": 10_000,
    }  # fmt: skip
    return StreamFacts(**given | changes)


@pytest.mark.parametrize(
    ("changes", "level", "said"),
    [
        ({}, Level.OK, ""),
        ({"state": "waiting", "reason": "no stream"}, Level.BAD, "missing: no stream"),
        ({"state": "waiting", "reason": "no stream", "required": False}, Level.OFF, "no stream"),
        ({"state": "refused", "reason": "in Hz"}, Level.BAD, "refused: in Hz"),
        ({"age": 3.0}, Level.WARN, "no spike for 3 s"),
        ({"age": 12.0}, Level.BAD, "no spike for 12 s"),
        ({"age": None}, Level.WARN, "no spike yet"),
        ({"counts": {"late": 5}}, Level.OK, ""),
        ({"counts": {"late": 50}}, Level.WARN, "50 late in the last minute"),
        ({"counts": {"unknown": 3000}}, Level.OK, ""),
        ({"counts": {"unknown": 9000}}, Level.WARN, "9000 unknown in the last minute"),
        ({"counts": {"saturated": 1}, "received": 0}, Level.WARN, "1 saturated in the last minute"),
        ({"correction_spread": 0.02}, Level.WARN, "clock offset moved by 20.0 ms in a minute"),
        ({"nominal": 100.0, "rate": 80.0}, Level.WARN, "80.0 Hz instead of 100"),
        ({"nominal": 100.0, "rate": 0.0, "age": 4.0}, Level.BAD, "no sample for 4 s"),
        ({"role": "markers", "age": 600.0}, Level.OK, ""),
        ({"role": "status", "age": 1.0}, Level.OK, ""),
        ({"role": "status", "age": 9.0}, Level.BAD, "no word from the loop for 9 s"),
    ],
)
def test_lights(changes, level, said):
    light = judge(facts(**changes))
    assert (light.level, light.reason) == (level, said)


@pytest.mark.parametrize(
    ("role", "state", "loop", "level", "said"),
    [
        ("factors", "waiting", "", Level.OFF, "press Start (F5)"),
        ("factors", "waiting", "stopped", Level.OFF, "the loop has stopped"),
        ("factors", "waiting", "running", Level.BAD, "missing: no stream"),
        ("factors", "waiting", "attached", Level.BAD, "missing: no stream"),
        ("factors", "open", "waiting", Level.OFF, "none while the loop waits"),
        ("status", "open", "waiting", Level.OK, ""),
        ("spikes", "waiting", "", Level.BAD, "missing: no stream"),
        ("spikes", "waiting", "stopped", Level.BAD, "missing: no stream"),
    ],
)
def test_what_the_loop_publishes_is_only_missed_while_it_should(role, state, loop, level, said):
    reason = "" if state == "open" else "no stream"
    light = judge(facts(role=role, state=state, reason=reason), loop=loop)
    assert (light.level, light.reason) == (level, said)


def stream(name, source_id="", kind="Spikes"):
    return OnNetwork(name, kind, source_id, "host", name, 1, 0.0)


def test_of_another_rig_one_stream_is_listed_and_its_behaviour():
    found = [
        stream("Amp"),
        *(stream(f"{r} {x}", f"bci-lfads:{r}:{x}") for r in ("Far", "Mine")
          for x in ("Annotations", "Factors", "Journal", "Status")),
        stream("Far Cursor", "bci-lfads:Far:Cursor", "Behaviour"),
    ]  # fmt: skip
    rows = pickable(found, {"Mine Factors", "Mine Status"}, "Mine")
    assert [s.name for s in rows] == [
        "Mine Annotations", "Mine Journal", "Amp", "Far Status", "Far Cursor",
    ]  # fmt: skip


def test_a_meter_measures_rate_age_and_gap():
    meter = StreamMeter()
    assert meter.age(0.0) is None
    meter.begin(0.0)
    for k in range(1000):
        meter.add(5, 0.01 * k)
    assert meter.rate(10.0) == pytest.approx(500, rel=0.02)
    meter.add(1, 12.0)
    assert meter.age(13.0) == pytest.approx(1.0)
    assert meter.gap(13.0) == pytest.approx(2.01)
    assert meter.gap(100.0) == pytest.approx(88.0)


def test_a_rate_is_not_told_too_early():
    meter = StreamMeter()
    meter.begin(0.0)
    meter.add(1, 0.1)
    assert math.isnan(meter.rate(0.2))


def test_a_counter_that_began_anew_counts_from_zero():
    trend = Trend()
    for now, value in ((0, 100), (10, 150), (20, 3)):
        trend.add(value, now)
    assert trend.change(20) == 3
    assert trend.change(200) == 0


def test_messages_are_read_and_others_are_not():
    message = parse(
        json.dumps({"state": "running", "time": 3, "counters": {"spikes": {"late": 4}}})
    )
    assert message.count("spikes", "late") == 4
    assert message.count("no", "such") == 0
    for text in ("", "[]", "{}", '{"state": 3}', b"\xff", "[" * 100_000):
        assert parse(text) is None


def state(said=None, reason="", cause="", **changes):
    said = None if said is None else {"state": said, "reason": reason, "cause": cause}
    message = None if said is None else parse(json.dumps(said))
    return run_state(message, **{"connected": True, "age": 0.2, "rig": "R"} | changes)


@pytest.mark.parametrize(
    ("found", "level", "word"),
    [
        (state("running"), Level.OK, "running"),
        (state("degraded", "x"), Level.WARN, "degraded"),
        (state("waiting", "x", "source_away"), Level.WARN, "waiting"),
        (state("waiting", "x", "source_refused"), Level.BAD, "waiting"),
        (state("degraded", "x", "engine_hangs"), Level.BAD, "degraded"),
        (state("calibrating", "x", "warm_up"), Level.WARN, "calibrating"),
        (state("running", age=30.0), Level.BAD, "silent"),
        (state("running", connected=False, age=4.0), Level.BAD, "gone"),
        (state(connected=False), Level.OFF, "not running"),
        (state(), Level.WARN, "attached"),
        (state("stopped", "asked to stop", connected=False), Level.OFF, "stopped"),
        (state("stopped", "inference failed: X", "failed"), Level.BAD, "stopped"),
        (state(rig=""), Level.OFF, "no rig"),
    ],
)
def test_states(found, level, word):
    assert (found.level, found.word) == (level, word)


def test_a_source_that_is_lost_is_worse_than_one_that_has_not_come_yet():
    said = {"state": "waiting", "reason": "spikes: lost", "cause": "source_away", "time": 72.0}
    levels = {}
    for entered in ({"running": 1}, {}, [], None):
        message = parse(json.dumps({**said, "since": 60.0, "entered": entered}))
        found = run_state(message, connected=True, age=0.2, rig="R")
        levels[json.dumps(entered)] = found.level
        if found.level == Level.BAD:
            assert found.reason == "see to the source, no factors for 12 s. spikes: lost"
    assert levels == {
        '{"running": 1}': Level.BAD, "{}": Level.WARN, "[]": Level.WARN, "null": Level.WARN,
    }  # fmt: skip


def test_a_loop_that_is_gone_is_told_with_its_last_state():
    assert "last state was 'running' 4 s ago" in state("running", connected=False, age=4.0).reason


def test_units_that_changed_or_fell_silent():
    reference = np.array([10.0, 10.0, 10.0, 0.1, 10.0, 10.0])
    rates = np.array([10.5, 0.0, 25.0, 0.2, 9.0, 11.0])
    drift = compare(rates, 30.0, reference, "training")
    assert drift.changed == (1, 2)
    assert drift.silent == (1,)
    assert drift.alarm
    assert "2 of 6 units changed, 1 silent, against training" in drift.in_words()


def test_rates_of_too_short_a_time_say_nothing():
    drift = compare(np.zeros(3), 0.0, np.ones(3), "training")
    assert not drift.alarm
    assert drift.in_words() == "rates: not enough spikes yet"


def rows(n, wait=0.006):
    ends = np.arange(n, dtype=float)
    closed = ends + wait
    steps = [closed, closed + 1e-4, closed + 3e-4, closed + 4e-4, closed + 9e-4]
    return ends, np.column_stack([ends, *steps])


def test_the_time_goes_where_it_goes():
    summary = summarise(*rows(100), deadline=0.006, hold_off=0.005)
    assert summary.median == pytest.approx(0.0064)
    assert summary.misses == 100
    assert summary.parts["hold-off"] == pytest.approx(0.005)
    assert summary.parts["LSL in, binning"] == pytest.approx(0.001)
    assert summary.parts["engine"] == pytest.approx(2e-4)
    assert summary.received == pytest.approx(5e-4)


def test_stamps_of_another_clock_say_nothing_of_latency():
    ends, given = rows(10)
    summary = summarise(ends + 1e5, given, deadline=0.05, hold_off=0.005, lsl_time=False)
    assert summary.median == pytest.approx(4e-4)
    assert math.isnan(summary.parts["hold-off"])


def test_nothing_yet_is_no_error():
    summary = summarise(np.empty(0), np.empty((0, 6)), deadline=0.05, hold_off=0.0)
    assert summary.n == 0
    edges, counts = histogram(summary.total, 0.05)
    assert counts.sum() == 0
    assert edges[-1] > 0.05


def test_what_is_beyond_the_histogram_is_in_its_last_bin():
    edges, counts = histogram(np.array([0.01, 100.0]), 0.05)
    assert edges[-1] == pytest.approx(0.2)
    assert counts[-1] == 1
    assert counts.sum() == 2


def test_axes_are_the_same_in_a_second_fit_and_hold_all_points():
    rng = np.random.default_rng(0)
    points = (rng.standard_normal((500, 4)) * [3, 2, 1, 0.1]).astype(np.float32)
    frame, again = fit(points), fit(points[::-1].copy())
    np.testing.assert_allclose(frame.components, again.components, atol=1e-6)
    assert frame.axes()[0] == "factor 0"
    assert len(frame.axes()) == 7
    at = frame.coordinates(points)
    assert (at > frame.low).all()
    assert (at < frame.high).all()
    assert (np.diff(frame.explained) <= 0).all()


def test_too_few_points_give_no_axes():
    assert fit(np.full((10, 3), np.nan, np.float32)) is None


def test_turning_keeps_what_points_up():
    flat = rotate(np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]), 0.0, 0.0)
    np.testing.assert_allclose(flat, [[0, 1], [1, 0]], atol=1e-12)


def luminance(colour):
    linear = [c / 12.92 if c <= 0.04 else ((c + 0.055) / 1.055) ** 2.4
              for c in (v / 255 for v in rgb(colour))]  # fmt: skip
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=lambda t: t.name)
def test_text_and_lights_stand_out(theme):
    def contrast(a, b):
        high, low = sorted((luminance(a), luminance(b)), reverse=True)
        return (high + 0.05) / (low + 0.05)

    assert contrast(theme.text, theme.window) > 7
    for colour in (*theme.lights.values(), theme.muted):
        assert contrast(colour, theme.window) > 3
    for colour in theme.lights.values():
        assert contrast(theme.on_light, colour) > 3


def test_a_legend_says_once_what_all_conditions_begin_with():
    known = {f"trial/test/{k}": k for k in range(20)}
    text = legend(known, DARK)
    assert text.count("trial/") == 1
    assert text.startswith("trial/test/ &nbsp;")
    assert "and 4 more" in text
    strokes = [DARK.stroke(k) for k in range(20)]
    assert strokes == [0] * 8 + [1] * 8 + [2] * 4, "as many as share a colour"
    assert shared_prefix(("go/left",)) == ""
    assert shared_prefix(("go", "go/left")) == ""
    assert shared_prefix(("a/b/c", "a/b/d", "a/bc")) == "a/"


def test_text_is_large_enough_on_large_screens():
    assert for_height(720) == for_height(1440) == 1.0
    assert for_height(2160) == 2.0
    assert wanted("auto") is None
    assert wanted("auto", 2160) == 2.0
    assert wanted("1.5", 720) == 1.5
    for wrong in ("big", "0", "nan", "9"):
        with pytest.raises(BciLfadsError, match=r"give auto, or a number from 0.5 to 4"):
            wanted(wrong)
