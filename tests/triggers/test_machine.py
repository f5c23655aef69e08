"""The pure part: conditions, guard and both together, against what must never happen."""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from bci_lfads.errors import TriggerError
from bci_lfads.triggers.conditions import Condition
from bci_lfads.triggers.guard import Guard
from bci_lfads.triggers.machine import Machine
from bci_lfads.triggers.rules import Limit, Rule, load_rules

RULE = TypeAdapter(Rule)
LABELS = ("x", "y", "p")
times = st.floats(0.0, 2.0, allow_nan=False)


def rule(**settings):
    return RULE.validate_python({"name": "r", **settings})


def above(**settings):
    return rule(when="above", channel="x", threshold=1.0, release=0.5, **settings)


def begins(condition, *rows):
    return [condition.look(np.array(row, np.float32))[1] for row in rows]


def test_a_threshold_begins_above_it_and_ends_below_its_release():
    xs = [0.0, 1.0, 0.7, 1.2, 0.5, 0.49, 0.9, 1.1]
    found = begins(Condition(above(), LABELS), *[(x, 0, 0) for x in xs])
    assert found == [False, True, False, False, False, False, False, True]


def test_below_is_the_mirror_of_above():
    below = rule(when="below", channel="y", threshold=-1.0, release=-0.5)
    ys = [0.0, -1.0, -0.7, -0.4, -1.5]
    assert begins(Condition(below, LABELS), *[(0, y, 0) for y in ys]) == [
        False, True, False, False, True,
    ]  # fmt: skip


def test_a_condition_must_have_been_seen_outside():
    assert begins(Condition(above(), LABELS), (5, 0, 0), (6, 0, 0), (0, 0, 0), (5, 0, 0)) == [
        False, False, False, True,
    ]  # fmt: skip


def test_a_ball():
    ball = rule(when="ball", centre={"x": 1.0, "y": 1.0}, radius=1.0, release=2.0)
    rows = [(5, 5, 0), (1, 1.9, 0), (1, 2.5, 0), (1, 1, 0), (1, 3.5, 0), (1, 1, 0)]
    assert begins(Condition(ball, LABELS), *rows) == [False, True, False, False, False, True]


def test_a_box_with_a_margin():
    box = rule(when="box", low={"x": 0, "y": 0}, high={"x": 2, "y": 1}, margin=0.5)
    rows = [(3, 0.5, 0), (1, 0.5, 0), (2.4, 0.5, 0), (1, 0.5, 0), (2.6, 0.5, 0), (1, 1, 0)]
    assert begins(Condition(box, LABELS), *rows) == [False, True, False, False, False, True]


def test_a_half_space():
    half = rule(when="half-space", normal={"x": 1, "y": -1}, offset=1.0, release=0.0)
    rows = [(0, 0, 0), (2, 0, 0), (0.5, 0, 0), (0, 1, 0), (3, 1, 0)]
    assert begins(Condition(half, LABELS), *rows) == [False, True, False, False, True]


def test_a_probability():
    probable = rule(when="class", channel="p", probability=0.8, release=0.4)
    assert begins(Condition(probable, LABELS), (0, 0, 0.1), (0, 0, 0.9), (0, 0, 0.5)) == [
        False, True, False,
    ]  # fmt: skip


def test_a_channel_that_is_not_there_is_said():
    with pytest.raises(TriggerError, match="rule 'r' asks for z; there are x, y, p"):
        Condition(rule(when="above", channel="z", threshold=1), LABELS)


# The guard


def guard(total=3, seconds=1.0, dead_man=5.0, **of_rule):
    return Guard([above(**of_rule)], Limit(count=total, seconds=seconds), dead_man)


def test_it_begins_disarmed_and_only_an_order_arms():
    g = guard()
    assert g.ask(0, 0.0) == "disarmed"
    assert g.renew(0.0) == "disarmed: not armed yet"
    assert g.ask(0, 0.0) == "disarmed"
    assert g.arm(0.0) == ""
    assert g.ask(0, 0.0) == "fire"


def test_the_dead_man_switch():
    g = guard(dead_man=5.0)
    g.arm(0.0)
    assert g.renew(4.0) == ""
    assert not g.tick(8.9)
    assert g.tick(9.0)
    assert g.reason == "dead-man switch: not renewed within 5 s"
    assert g.renew(9.0).startswith("disarmed: dead-man")
    assert not g.armed
    # Even if no one looked in the meantime.
    g.arm(10.0)
    assert g.ask(0, 15.0) == "disarmed"


def test_a_fault_disarms_and_a_lasting_one_forbids_arming():
    g = guard()
    g.arm(0.0)
    assert g.fault("gap", "20 ms between two rows")
    assert g.reason == "gap: 20 ms between two rows"
    assert g.arm(0.1) == ""
    g.fault("stream", "lost", lasting=True)
    assert g.arm(0.2) == "lost"
    g.clear("stream")
    assert not g.armed, "it is never armed again by itself"
    assert g.arm(0.3) == ""


def test_a_clock_that_goes_back_is_a_fault():
    g = guard()
    g.arm(10.0)
    assert g.ask(0, 9.0) == "disarmed"
    assert g.reason == "clock: it went back"


def test_refractory_time_and_limits_by_turns():
    g = guard(
        total=3, seconds=10.0, refractory=0.5, limit={"count": 2, "seconds": 4.0}, dead_man=99
    )
    g.arm(0.0)
    found = [g.ask(0, t) for t in (0.0, 0.4, 0.5, 1.0, 4.0, 5.0, 10.0)]
    assert found == [
        "fire", "refractory", "fire", "rule limit", "fire", "total limit", "fire",
    ]  # fmt: skip


@dataclass
class Ordered:
    """What may happen to a machine."""

    kind: str
    wait: float
    x: float = 0.0


events = st.lists(
    st.builds(
        Ordered,
        kind=st.sampled_from(["row"] * 6 + ["arm", "arm", "renew", "disarm", "fault", "lasting",
                                           "clear", "reset"]),
        wait=times,
        x=st.sampled_from([0.0, 0.3, 0.6, 0.9, 1.0, 1.5]),
    ),
    max_size=120,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    happened=events,
    total=st.integers(1, 3), seconds=st.floats(0.1, 8.0), own=st.integers(1, 3),
    own_seconds=st.floats(0.1, 8.0), refractory=st.floats(0.0, 3.0), dead_man=st.floats(0.5, 10.0),
    hold=st.floats(0.0, 2.0),
)  # fmt: skip
def test_whatever_happens_the_rails_hold(
    happened, total, seconds, own, own_seconds, refractory, dead_man, hold
):
    rules = [
        above(refractory=refractory, limit={"count": own, "seconds": own_seconds}, hold=hold),
        rule(when="below", channel="x", threshold=0.6, release=0.9).model_copy(
            update={"name": "s"}
        ),
    ]
    guarded = Guard(rules, Limit(count=total, seconds=seconds), dead_man)
    machine = Machine(rules, LABELS, guarded)
    now = 0.0
    armed_until = -math.inf  # a model of its own: what orders and faults allow
    lasting = False
    fired: list[tuple[int, float]] = []
    began: dict[int, float] = {}
    state = ["unknown", "unknown"]
    for event in happened:
        now += event.wait
        if event.kind == "arm" and not lasting:
            armed_until = now + dead_man
        if event.kind == "renew" and now < armed_until:
            armed_until = now + dead_man
        if event.kind in ("disarm", "fault", "lasting"):
            armed_until = -math.inf
        lasting = lasting or event.kind == "lasting"
        lasting = lasting and event.kind != "clear"
        if event.kind == "arm":
            guarded.arm(now)
        elif event.kind == "renew":
            guarded.renew(now)
        elif event.kind == "disarm":
            guarded.disarm("ordered")
        elif event.kind in ("fault", "lasting"):
            guarded.fault("f", "words", lasting=event.kind == "lasting")
        elif event.kind == "clear":
            guarded.clear("f")
        elif event.kind == "reset":
            machine.reset()
            state, began = ["unknown", "unknown"], {}
        else:
            for k, (inside, outside) in enumerate(
                ((event.x >= 1.0, event.x < 0.5), (event.x <= 0.6, event.x > 0.9))
            ):
                if state[k] == "inside":
                    if outside:
                        state[k] = "outside"
                        began.pop(k, None)
                elif inside and state[k] == "outside":
                    state[k], began[k] = "inside", now
                elif not inside:
                    state[k] = "outside"
            for decision in machine.observe(np.array([event.x, 0, 0]), now, now):
                k = decision.rule
                assert k in began, "a condition decides once, while it holds"
                assert now - began.pop(k) >= rules[k].hold - 1e-5
                if decision.verdict == "fire":
                    assert now < armed_until, "it fired disarmed"
                    fired.append((k, now))
    for k, (limit, length, of) in enumerate(((total, seconds, (0, 1)), (own, own_seconds, (0,)))):
        at = [t for rule_, t in fired if rule_ in of]
        for first, last in zip(at, at[limit:], strict=False):
            assert last - first >= length, f"limit {k}"
    own_times = [t for rule_, t in fired if rule_ == 0]
    assert all(b - a >= refractory for a, b in pairwise(own_times))


def test_the_property_can_fail():
    """The events above do lead to firing, suppressed and not."""
    g = guard(total=2, seconds=5.0)
    machine = Machine([above()], LABELS, g)
    g.arm(0.0)
    verdicts = [
        d.verdict
        for k, x in enumerate([0.0, 2.0, 0.0, 2.0, 0.0, 2.0])
        for d in machine.observe(np.array([x, 0, 0], np.float32), k * 0.1, k * 0.1)
    ]
    assert verdicts == ["fire", "fire", "total limit"]


def test_a_condition_must_hold_for_as_long_as_asked():
    g = guard()
    machine = Machine([above(hold=0.03)], LABELS, g)
    g.arm(0.0)
    xs = [0, 2, 2, 0, 2, 2, 2, 2, 2]
    at = [
        k
        for k, x in enumerate(xs)
        for _ in machine.observe(np.array([x, 0, 0], np.float32), 0.01 * k, 0.01 * k)
    ]
    assert at == [7]


def test_after_a_reset_it_must_be_seen_outside_again():
    g = guard()
    machine = Machine([above()], LABELS, g)
    g.arm(0.0)
    high, low = np.array([2.0, 0, 0]), np.zeros(3)
    assert not list(machine.observe(low, 0.0, 0.0))
    machine.reset()
    assert not list(machine.observe(high, 0.1, 0.1))
    assert not list(machine.observe(low, 0.2, 0.2))
    assert [d.verdict for d in machine.observe(high, 0.3, 0.3)] == ["fire"]


# The file

GOOD = """
rig = "R"
log = "log.jsonl"
limit = { count = 5, seconds = 60 }
[[rule]]
name = "fast"
when = "above"
channel = "vx"
threshold = 5.0
"""


def test_rules_are_read(tmp_path):
    (tmp_path / "r.toml").write_text(GOOD)
    rules = load_rules(tmp_path / "r.toml")
    assert rules.log == tmp_path / "log.jsonl"
    assert (rules.stream, rules.rule[0].threshold) == ("DecodedBehaviour", 5.0)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("limit = { count = 5, seconds = 60 }", "", "limit: Field required"),
        ('when = "above"', 'when = "over"', "rule.0"),
        ("threshold = 5.0", "threshold = 5.0\nrelease = 6.0", "is beyond the threshold"),
        ("threshold = 5.0", "threshold = nan", "finite number"),
        ("count = 5", "count = 0", "greater than or equal to 1"),
        ('name = "fast"', 'name = "fast"\nextra = 1', "Extra inputs"),
        ('rig = "R"', 'rig = ', "is not readable as TOML"),
    ],
)  # fmt: skip
def test_wrong_rules_are_said(tmp_path, old, new, message):
    (tmp_path / "r.toml").write_text(GOOD.replace(old, new))
    with pytest.raises(TriggerError, match=message):
        load_rules(tmp_path / "r.toml")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"when": "ball", "centre": {"x": 0}, "radius": 2, "release": 1}, "within the radius"),
        ({"when": "box", "low": {"x": 0}, "high": {"y": 1}}, "name the same channels"),
        ({"when": "half-space", "normal": {"x": 0}, "offset": 1}, "no direction"),
        ({"when": "class", "channel": "p", "probability": 0.5, "release": 0.6}, "is above"),
        ({"when": "below", "channel": "x", "threshold": 1, "release": 0}, "beyond the threshold"),
    ],
)
def test_regions_that_are_none_are_said(settings, message):
    with pytest.raises(ValueError, match=message):
        rule(**settings)


def test_names_are_unique(tmp_path):
    (tmp_path / "r.toml").write_text(GOOD + GOOD[GOOD.index("[[rule]]") :])
    with pytest.raises(TriggerError, match="names of their own"):
        load_rules(tmp_path / "r.toml")
