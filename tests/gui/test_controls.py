"""That no control is without a test, and what a picked stream is used for."""

import inspect

import numpy as np
import pylsl
import pytest
from qtpy.QtWidgets import QAbstractButton, QComboBox, QLineEdit, QSlider

from bci_lfads.streams.sources import SpikeSource
from gui import test_labrecorder, test_living_on, test_window

pytestmark = [pytest.mark.gui, pytest.mark.lsl]

KINDS = (QAbstractButton, QComboBox, QLineEdit, QSlider)
WHOLE = test_window.test_from_start_to_stop_with_every_control
CHOICES = test_window.test_panels_choices_and_shortcuts
TESTED = {
    **{
        f"controls.{name}": (WHOLE, f"controls.{name}")
        for name in (
            "open_rig", "open_recording", "start", "stop", "play", "step", "to_marker", "place",
            "end", "loop", "record", "note", "send",
        )
    },
    "controls.engine": (test_window.test_engines_and_failures_are_passed_on, "controls.engine"),
    "controls.attach": (
        test_living_on.test_killing_the_window_leaves_the_loop_and_no_orphan, "controls.attach",
    ),
    "controls.recorder": (
        test_labrecorder.test_the_window_has_labrecorder_record, "controls.recorder",
    ),
    "space.fit_button": (CHOICES, "space.fit_button.click"),
    "streams.use": (CHOICES, "streams.use.click"),
}  # fmt: skip


def own_controls(shown):
    """Return the controls of the window by the place where they are kept."""
    found = {}
    for place, part in {"controls": shown.controls, **{p.name: p for p in shown.panels}}.items():
        for name, value in vars(part).items():
            for widget in value if isinstance(value, list) else [value]:
                if isinstance(widget, KINDS):
                    found[widget] = f"{place}.{name}"
    return found


def test_every_control_has_a_test(window):
    shown = window()
    named = own_controls(shown)
    for place, part in {"controls": shown.controls, **{p.name: p for p in shown.panels}}.items():
        for kind in KINDS:
            for widget in part.findChildren(kind):
                inner = isinstance(widget.parent(), QComboBox) or not widget.objectName().find(
                    "qt_"
                )
                if inner or type(widget).__name__ in ("QAbstractButton", "QTableCornerButton"):
                    continue  # Qt's own, within a list or a table
                assert widget in named, f"a {type(widget).__name__} of {place} is kept nowhere"
    for widget, name in named.items():
        place, _, last = name.partition(".")
        if place != "controls" and (isinstance(widget, QComboBox) or last == "export_button"):
            continue  # all of these are tried in turn, whichever there are
        if name == "controls.speed":
            continue  # `test_the_speed_and_the_loop_go_to_the_replay`, below
        test, used = TESTED[name]
        assert used in inspect.getsource(test), f"{test.__name__} does not use {name}"


def test_the_speed_and_the_loop_go_to_the_replay(window, files):
    shown = window()
    shown.open_rig_file(files.rig)
    shown.replay.open(files.recording)
    shown.controls.speed.setCurrentText("×10")
    shown.replay.play()
    arguments = shown.replay.player.arguments
    assert arguments[arguments.index("--speed") + 1] == "10"
    assert "--loop" not in arguments
    shown.replay.close()
    shown.detach()
    shown.controls.speed.setCurrentText("max")
    shown.replay.play()
    assert "follows a rig" in shown.statusBar().currentMessage()
    assert shown.replay.player is None


def select(shown, name):
    view = shown.streams.view
    for y in range(view.rowCount()):
        if view.item(y, 1).text() == name:
            view.setCurrentCell(y, 1)
            return True
    return False


def test_a_picked_stream_is_watched_in_the_raster(qtbot, window, files):
    shown = window()
    name = f"{files.name} Picked"
    source = SpikeSource(name, tuple(f"n{i}" for i in range(7)), "events")
    try:
        qtbot.waitUntil(lambda: select(shown, name), timeout=90_000)
        shown.streams.use.click()
        assert "attach to a rig first" in shown.statusBar().currentMessage()
        shown.open_rig_file(files.rig)
        qtbot.waitUntil(lambda: select(shown, name), timeout=90_000)
        shown.streams.use.click()
        assert source.wait_for_consumer(15.0)

        def came():
            now = pylsl.local_clock()
            source.push(np.array([now, now]), np.array([0, 3]))
            return shown.store.spikes is not None and shown.store.spikes.total > 0

        qtbot.waitUntil(came, timeout=90_000)
        assert shown.rig_file == files.rig.resolve()
    finally:
        source.close()
