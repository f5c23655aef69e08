"""Triggers over LSL on loopback: what is sent, what disarms, and what is written down."""

import json
import stat
import subprocess
import sys
import threading
import time
from collections import Counter

import numpy as np
import pylsl
import pytest
from streams.served import environment, until

from bci_lfads.errors import StreamError, TriggerError
from bci_lfads.streams.metadata import stream_info
from bci_lfads.triggers.consumer import TriggerRun
from bci_lfads.triggers.control import ControlSocket, Orders, give_order
from bci_lfads.triggers.log import EventLog
from bci_lfads.triggers.rules import TriggerSettings

pytestmark = pytest.mark.lsl
WIDTH = 0.01


class Source:
    """A stream of behaviour that a test pushes to."""

    def __init__(self, rig, *, model="c0ffee", labels=("vx", "vy")):
        info = stream_info(
            f"{rig} DecodedBehaviour", "Behaviour", source_id=f"bci-lfads:{rig}:DecodedBehaviour",
            labels=labels, rate=1 / WIDTH,
            desc={"bin_width": repr(WIDTH), "model": {"hash": model}, "decoder": {"hash": "d"}},
        )  # fmt: skip
        self._outlet = pylsl.StreamOutlet(info)
        self.next = pylsl.local_clock()

    def push(self, *xs, age=0.0, gap=0.0):
        """Push values of vx, each a bin after the one before, now that these bins are over."""
        now = pylsl.local_clock() - 0.5 * WIDTH - age
        self.next = max(self.next + WIDTH + gap, now - (len(xs) - 1) * WIDTH) if gap or age else (
            self.next + WIDTH)  # fmt: skip
        stamps = [self.next + k * WIDTH for k in range(len(xs))]
        self.next = stamps[-1]
        self._outlet.push_chunk(np.array([[x, 0.0] for x in xs], np.float32), stamps)

    def steady(self, *xs):
        """Push values in real time."""
        for x in xs:
            time.sleep(max(0.0, self.next + 1.5 * WIDTH - pylsl.local_clock()))
            self.push(x)

    def close(self):
        del self._outlet


class Trigger:
    """A trigger that runs in a thread, and who listens to it."""

    def __init__(self, rig, folder, **changes):
        self.log = folder / "log.jsonl"
        content = {
            "rig": rig, "log": str(self.log), "limit": {"count": 100, "seconds": 1.0},
            "max_age": 2.0, "max_silence": 5.0, "dead_man": 30.0,
            "rule": [{"name": "fast", "label": "stim", "when": "above", "channel": "vx",
                      "threshold": 1.0, "release": 0.5}],
            **changes,
        }  # fmt: skip
        self.orders = Orders()
        self.events = EventLog(self.log)
        self.run = TriggerRun(TriggerSettings.model_validate(content), self.orders, self.events)
        self.stop = threading.Event()
        self.failure = None
        self._thread = threading.Thread(target=self._body)
        self._thread.start()
        self.markers = pylsl.StreamInlet(
            pylsl.resolve_byprop("name", f"{rig} Triggers", timeout=10)[0]
        )
        self.markers.open_stream(10)

    def _body(self):
        try:
            self.run.run(self.stop, connect_timeout=20.0)
        except Exception as error:
            self.failure = error

    def order(self, word):
        answers = []
        self.orders.put(word, "test", answers.append)
        until(lambda: answers)
        return answers[0]

    def heard(self, n):
        """Return what was sent, once it is so much, or after a while."""
        found = []
        end = time.monotonic() + 5.0
        while len(found) < n and time.monotonic() < end:
            found += zip(*self.markers.pull_chunk(timeout=0.05), strict=True)
        return [(text, stamp) for (text,), stamp in found]

    def lines(self, event=None):
        found = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [line for line in found if event in (None, line["event"])]

    def close(self):
        self.stop.set()
        self._thread.join(20)
        self.run.close()
        self.events.close()


@pytest.fixture
def start(unique, tmp_path):
    opened = []

    def make(cls, *arguments, **settings):
        new = cls(unique, *((tmp_path,) if cls is Trigger else ()), *arguments, **settings)
        opened.append(new)
        return new

    yield make
    for one in reversed(opened):
        one.close()


@pytest.fixture
def both(start):
    source, trigger = start(Source), start(Trigger)
    until(lambda: trigger.run._inlet.connection.state == "open")
    source.next = pylsl.local_clock()
    return source, trigger


def armed(trigger):
    return trigger.run.guard.armed


def test_disarmed_it_sends_nothing_and_writes_everything_down(both):
    source, trigger = both
    source.steady(0, 2, 0)
    until(lambda: trigger.lines("decision"))
    (decision,) = trigger.lines("decision")
    assert (decision["rule"], decision["verdict"], decision["value"]) == ("fast", "disarmed", 2.0)
    assert not trigger.markers.pull_chunk(timeout=0.2)[0]


def test_armed_it_sends_markers_with_the_time_they_took(both):
    source, trigger = both
    latency = pylsl.StreamInlet(
        pylsl.resolve_byprop("name", f"{trigger.run._settings.rig} TriggerLatency", timeout=10)[0]
    )
    latency.open_stream(10)
    source.steady(0)
    assert trigger.order("arm") == "armed"
    source.steady(2, 2, 0, 3, 0)
    first, second = trigger.heard(2)
    message = json.loads(first[0])
    assert (message["rule"], message["label"], message["value"]) == ("fast", "stim", 2.0)
    (row, _), _ = latency.pull_chunk(timeout=2.0, max_samples=2)
    end, received, pushed = row
    assert end == message["window_end"] == message["stamp"] + 0.5 * WIDTH
    assert end <= received <= first[1] <= pushed
    assert message["latency_ms"] == pytest.approx(1e3 * (first[1] - end))
    assert second[1] > first[1]
    until(lambda: len(trigger.lines("decision")) == 2)
    assert [d["verdict"] for d in trigger.lines("decision")] == ["fire", "fire"]
    status = json.loads(trigger.order("status"))
    assert status["verdicts"] == {"fast": {"fire": 2}}
    assert status["window_end_to_pushed_ms"]["n"] == 2


def test_a_label_alone(start):
    source, trigger = start(Source), start(Trigger, format="label")
    until(lambda: trigger.run._inlet.connection.state == "open")
    source.next = pylsl.local_clock()
    source.steady(0)
    trigger.order("arm")
    source.steady(2)
    assert trigger.heard(1)[0][0] == "stim"


@pytest.mark.parametrize("what", ["row", "gap", "order", "age", "future"])
def test_what_is_wrong_with_a_row_disarms(both, what):
    source, trigger = both
    source.steady(0, 0)
    assert trigger.order("arm") == "armed"
    if what == "row":
        source.steady(np.nan)
    elif what == "gap":
        source.push(0, gap=0.05)
    elif what == "order":
        source.next -= 0.1
        source.push(0)
    else:
        source.next += 3.0 if what == "future" else -3.0
        source.push(0)
    until(lambda: not armed(trigger))
    # A row that is too old has gone back, too, and one of the future leaves a gap.
    reason = trigger.run.guard.reason
    assert reason.startswith({"age": "order", "future": "gap"}.get(what, what)), reason
    source.next = pylsl.local_clock()
    source.push(0, 0)
    source.push(5)
    until(lambda: trigger.lines("decision"))
    assert trigger.lines("decision")[-1]["verdict"] == "disarmed", "it does not arm itself again"
    kind = "age" if what == "future" else what
    words = [line["words"] for line in trigger.lines("fault") if line["what"] == kind]
    assert words
    if kind == "age":
        assert ("in the future" in words[0]) == (what == "future"), words
    assert trigger.lines("disarmed")


def test_silence_disarms(start):
    source, trigger = start(Source), start(Trigger, max_silence=0.3)
    until(lambda: trigger.run._inlet.connection.state == "open")
    source.next = pylsl.local_clock()
    source.push(0)
    until(lambda: trigger.run._rows == 1)
    assert trigger.order("arm") == "armed"
    until(lambda: not armed(trigger))
    assert "silence: no row for 0.3" in trigger.run.guard.reason
    assert trigger.order("arm").startswith("refused: no row for")
    assert trigger.order("renew").startswith("refused: disarmed: silence")


def test_no_one_renews(start):
    source, trigger = start(Source), start(Trigger, dead_man=0.3)
    until(lambda: trigger.run._inlet.connection.state == "open")
    trigger.order("arm")
    until(lambda: not armed(trigger))
    assert trigger.run.guard.reason.startswith("dead-man switch")
    source.close()
    source._outlet = None


def test_a_stream_that_goes_and_one_of_another_model(start, unique):
    source, trigger = start(Source), start(Trigger)
    until(lambda: trigger.run._inlet.connection.state == "open")
    assert trigger.order("arm") == "armed"
    source.close()
    until(lambda: not armed(trigger))
    assert trigger.run.guard.reason.startswith("stream: ")
    assert trigger.order("arm").startswith("refused: ")
    source._outlet = Source(unique)._outlet
    until(lambda: trigger.run._inlet.connection.state == "open")
    assert not armed(trigger)
    until(lambda: "stream" not in trigger.run.guard.faults)
    assert trigger.order("arm") == "armed"
    source.close()
    until(lambda: not armed(trigger))
    source._outlet = Source(unique, model="decaf")._outlet
    until(lambda: trigger.run._inlet.connection.state == "refused")
    assert "is of model decaf…, not c0ffee…" in trigger.run._inlet.connection.reason
    assert "is of model decaf" in trigger.order("arm")


def test_a_log_that_cannot_be_written_disarms(both):
    _, trigger = both
    assert trigger.order("arm") == "armed"
    trigger.events.failure = "the disk is full"
    until(lambda: not armed(trigger))
    assert trigger.order("arm") == "refused: the disk is full"


def test_rules_that_do_not_fit_the_stream(start):
    start(Source, labels=("a", "b"))
    trigger = start(Trigger)
    until(lambda: trigger.failure is not None)
    assert isinstance(trigger.failure, StreamError)
    assert "rule 'fast' asks for vx; there are a, b" in str(trigger.failure)


def test_a_full_queue_of_lines_is_a_failure(tmp_path):
    events = EventLog(tmp_path / "log")
    events._waiting.maxsize = 1
    events._file.close()  # so that writing fails
    for k in range(100):
        events.add("x", float(k))
    until(lambda: events.failure)
    events.close()
    with pytest.raises(TriggerError, match="cannot write the log"):
        EventLog(tmp_path / "none" / "log")


def test_the_socket_is_the_users_own_and_answers(tmp_path):
    orders, path = Orders(), tmp_path / "s"
    control = ControlSocket(path, orders)
    try:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert give_order(path, "fire") == "error: there are arm, renew, disarm, status, stop"
        answers = []
        asking = threading.Thread(target=lambda: answers.append(give_order(path, "arm")))
        asking.start()
        until(lambda: not orders._waiting.empty())
        order = orders.take()
        assert (order.word, order.source) == ("arm", "socket")
        order.answer("armed")
        asking.join()
        assert answers == ["armed"]
        with pytest.raises(TriggerError, match="cannot make the socket"):
            ControlSocket(path, orders)
    finally:
        control.close()
    assert not path.exists()
    with pytest.raises(TriggerError, match="no trigger answers"):
        give_order(path, "arm")


def test_the_command_follows_orders_from_input_and_socket(start, unique, tmp_path):
    source = start(Source)
    (tmp_path / "rules.toml").write_text(
        f'rig = "{unique}"\nlog = "log.jsonl"\nmax_age = 2.0\nmax_silence = 5.0\ndead_man = 30.0\n'
        "limit = {count = 9, seconds = 1.0}\n"
        '[[rule]]\nname = "fast"\nwhen = "above"\nchannel = "vx"\nthreshold = 1.0\n'
    )
    path = tmp_path / "s"
    process = subprocess.Popen(
        [sys.executable, "-m", "bci_lfads", "-q", "trigger", str(tmp_path / "rules.toml"),
         "--control", "--socket", str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/",
        env=environment(),
    )  # fmt: skip
    try:
        until(lambda: source._outlet.have_consumers(), 30)
        time.sleep(0.2)

        def order(word):
            process.stdin.write(word + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())["answer"]

        until(lambda: order("arm") == "armed")
        assert give_order(path, "renew") == "armed"
        source.next = pylsl.local_clock()
        source.steady(0, 2)
        until(lambda: json.loads(order("status"))["verdicts"] == {"fast": {"fire": 1}})
        assert order("disarm") == "disarmed"
        assert give_order(path, "renew").startswith("refused")
        process.stdin.close()
        last = json.loads(process.stdout.read().splitlines()[-1])
        assert process.wait(20) == 0
        assert not last["armed"]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    kinds = Counter(
        json.loads(x)["event"] for x in (tmp_path / "log.jsonl").read_text().splitlines()
    )
    assert kinds["decision"] == kinds["stopped"] == kinds["disarm"] == 1
    assert kinds["arm"] >= 1
