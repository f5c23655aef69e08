"""The window, offscreen: every control, both themes, saving, what is remembered."""

import csv

import pylsl
import pytest
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication

from bci_lfads_gui.model.health import Level
from bci_lfads_gui.palette import THEMES

pytestmark = [pytest.mark.gui, pytest.mark.lsl]


def click(qtbot, button):
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def activate(qtbot, window):
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow)


def press(qtbot, window, key, modifier=Qt.KeyboardModifier.NoModifier):
    activate(qtbot, window)
    qtbot.keyClick(window, key, modifier)


def drag(qtbot, slider, share):
    """Drag a slider's handle to a share of its range, as a hand would."""
    from qtpy.QtWidgets import QStyle, QStyleOptionSlider

    option = QStyleOptionSlider()
    slider.initStyleOption(option)
    style = slider.style()
    handle = style.subControlRect(
        QStyle.ComplexControl.CC_Slider, option, QStyle.SubControl.SC_SliderHandle, slider
    )
    room = slider.width() - handle.width()
    there = QPoint(round(share * room) + handle.width() // 2, handle.center().y())
    left = Qt.MouseButton.LeftButton
    qtbot.mousePress(slider, left, pos=handle.center())
    assert slider.isSliderDown()
    move = QMouseEvent(
        QEvent.Type.MouseMove, QPointF(there), slider.mapToGlobal(QPointF(there)), left, left,
        Qt.KeyboardModifier.NoModifier,
    )  # fmt: skip
    QApplication.sendEvent(slider, move)
    qtbot.mouseRelease(slider, left, pos=there)


def row_of(window, role):
    view = window.streams.view
    for y in range(view.rowCount()):
        if view.item(y, 2).text() == role:
            return [view.item(y, x).text() for x in range(view.columnCount())]
    return None


def loop_pid(window):
    return window.store.about.pid if window.store.about else 0


def test_without_a_rig_it_says_what_to_do(qtbot, window):
    shown = window()
    qtbot.waitUntil(lambda: shown.banner.shown.word == "no rig")
    assert "Ctrl+O" in shown.banner.reason.text()
    assert not shown.controls.start.isEnabled()
    assert not shown.controls.stop.isEnabled()
    for do in (shown.loop.start, shown.loop.stop, shown.replay.play, lambda: shown.annotate("x")):
        do()
        assert shown.statusBar().currentMessage().startswith("✖")


def test_missing_streams_are_red_with_the_reason(qtbot, window, files):
    shown = window()
    shown.open(str(files.rig))
    qtbot.waitUntil(lambda: row_of(shown, "spikes") is not None, timeout=90_000)
    row = row_of(shown, "spikes")
    assert row[0] == "✖"
    assert f"no stream with name '{files.name} S'" in row[5]
    assert row_of(shown, "factors")[0] == "○", "no loop was there yet"
    qtbot.waitUntil(lambda: shown.banner.shown.word == "not running")
    assert "Start" in shown.banner.shown.reason
    assert shown.controls.start.isEnabled()


def test_a_rig_file_that_is_wrong_is_said(qtbot, window, tmp_path):
    shown = window()
    (tmp_path / "bad.toml").write_text("name = 3")
    shown.open(str(tmp_path / "bad.toml"))
    assert "bad.toml" in shown.statusBar().currentMessage()
    assert shown.store.rig == ""


def test_from_start_to_stop_with_every_control(qtbot, window, files, tmp_path):
    shown = window()
    answers = {"Rig file": files.rig, "Recording": files.recording}
    shown.questions.file = lambda title, _: answers[title]
    shown.questions.new_file = lambda *_: tmp_path / "session.xdf"
    controls = shown.controls
    click(qtbot, controls.open_rig)
    click(qtbot, controls.open_recording)
    qtbot.waitUntil(lambda: controls.start.isEnabled() and controls.play.isEnabled())
    click(qtbot, controls.start)
    loop = shown.loop.process
    assert loop is not None
    controls.loop.setChecked(True)
    click(qtbot, controls.play)
    qtbot.waitUntil(lambda: shown.banner.shown.word == "running", timeout=90_000)
    qtbot.waitUntil(lambda: shown.store.factors.trials.total >= 6, timeout=90_000)
    assert loop_pid(shown) == loop.pid
    assert not controls.start.isEnabled()
    # What is drawn is what came.
    with shown.store.lock:
        trial = shown.store.factors.trials.newest(1)[0]
        assert shown.store.spikes.total > 100
        assert shown.store.latency.total >= 5
    assert trial.values.shape == (20, 3)
    qtbot.waitUntil(lambda: shown.space.frame is not None, timeout=90_000)
    qtbot.waitUntil(lambda: "right" in shown.factors.legend.text(), timeout=90_000)
    assert all(part in shown.factors.legend.text() for part in ("go/", "left"))
    qtbot.waitUntil(lambda: row_of(shown, "spikes")[0] == "●", timeout=90_000)
    assert "p99" in shown.latency.numbers.text()
    # The replay's bar.
    click(qtbot, controls.play)
    qtbot.waitUntil(lambda: shown.replay.player.progress.get("paused"), timeout=90_000)
    at = shown.replay.player.progress["position"]
    click(qtbot, controls.step)
    qtbot.waitUntil(
        lambda: shown.replay.player.progress["position"] == pytest.approx(at + 1.0), timeout=90_000
    )
    click(qtbot, controls.to_marker)
    qtbot.waitUntil(lambda: shown.replay.player.progress["position"] > at + 1.0, timeout=90_000)
    drag(qtbot, controls.place, 0.5)
    qtbot.waitUntil(
        lambda: shown.replay.player.progress["position"] == pytest.approx(30.0, abs=0.5),
        timeout=90_000,
    )
    assert "/ 60.0 s" in controls.clock.text()
    # Record, annotate.
    click(qtbot, controls.record)
    qtbot.waitUntil(lambda: controls.record.text().startswith("■"))
    heard = pylsl.StreamInlet(
        pylsl.resolve_byprop("name", f"{files.name} Annotations", timeout=30)[0]
    )
    heard.open_stream(10)
    press(qtbot, shown, Qt.Key.Key_L, Qt.KeyboardModifier.ControlModifier)
    controls.note.setText("  a  note ")
    qtbot.keyClick(controls.note, Qt.Key.Key_Return)
    assert heard.pull_sample(timeout=30)[0] == ["a note"]
    controls.note.setText("another")
    click(qtbot, controls.send)
    assert heard.pull_sample(timeout=30)[0] == ["another"]
    qtbot.waitUntil(
        lambda: "recording" in shown.record.recorder._process.log.read_text(), timeout=90_000
    )
    click(qtbot, controls.record)
    qtbot.waitUntil(lambda: not shown.record.recorder.running, timeout=90_000)
    assert (tmp_path / "session.xdf").stat().st_size > 0
    # The end.
    click(qtbot, controls.end)
    qtbot.waitUntil(lambda: shown.replay.player is None, timeout=90_000)
    shown.questions.sure = lambda *_: False
    click(qtbot, controls.stop)
    assert loop.running
    shown.questions.sure = lambda *_: True
    qtbot.waitUntil(controls.stop.isEnabled)
    click(qtbot, controls.stop)
    qtbot.waitUntil(lambda: not loop.running, timeout=90_000)
    assert loop.exit_code == 0
    qtbot.waitUntil(lambda: shown.banner.shown.word == "stopped", timeout=90_000)
    assert shown.banner.shown.reason == "asked to stop"


def test_a_sliding_window_is_drawn(qtbot, window, files):
    shown = window()
    shown.open_rig_file(files.sliding)
    shown.replay.open(files.recording)
    shown.loop.start()
    shown.replay.play()
    loop = shown.loop.process
    qtbot.waitUntil(
        lambda: shown.store.factors is not None and shown.store.factors.rows.total > 350,
        timeout=90_000,
    )
    qtbot.waitUntil(lambda: shown.space.frame is not None, timeout=90_000)
    header, rows = shown.factors.table()
    assert header[0] == "time_s"
    assert len(rows) > 100
    assert "sliding" in shown.banner.facts.text()
    loop._process.kill()
    qtbot.waitUntil(lambda: shown.banner.shown.word == "gone", timeout=90_000)
    assert shown.banner.shown.level == Level.BAD
    assert "last state was 'running'" in shown.banner.shown.reason
    qtbot.waitUntil(lambda: row_of(shown, "factors")[0] == "✖", timeout=90_000)


def test_engines_and_failures_are_passed_on(qtbot, window, files):
    shown = window()
    shown.open_rig_file(files.rig)
    qtbot.waitUntil(shown.controls.start.isEnabled)
    shown.controls.engine.setCurrentText("fpga")
    click(qtbot, shown.controls.start)
    loop = shown.loop.process
    assert loop.arguments[-2:] == ("--engine", "fpga")
    qtbot.waitUntil(lambda: shown.loop.process is None, timeout=90_000)
    assert "exit code 1" in shown.statusBar().currentMessage()


def test_both_themes_and_every_panel_as_a_file(qtbot, window, tmp_path):
    shown = window()
    for theme in THEMES.values():
        shown.set_theme(theme)
    press(qtbot, shown, Qt.Key.Key_T, Qt.KeyboardModifier.ControlModifier)
    assert shown.theme.name == "dark"
    for panel in shown.panels:
        for suffix in ("png", "svg", "csv"):
            path = tmp_path / f"{panel.name}.{suffix}"
            shown.questions.new_file = lambda *_, path=path: path
            click(qtbot, panel.export_button)
            assert path.stat().st_size > 0, path
    with (tmp_path / "latency.csv").open() as file:
        assert next(csv.reader(file))[-1] == "latency"
    shown.questions.new_file = lambda *_: tmp_path / "none" / "x.svg"
    shown.save_panel(shown.raster)
    assert shown.statusBar().currentMessage().startswith("✖")
    shown.questions.new_file = lambda *_: None
    shown.save_panel()


def test_panels_choices_and_shortcuts(qtbot, window):
    shown = window()
    for panel in shown.panels:
        for box in panel.findChildren(type(shown.raster.span)):
            for k in range(box.count()):
                box.setCurrentIndex(k)
    shown.space.fit_button.click()
    assert "too few" in shown.space.note.text()
    shown.streams.use.click()
    control = Qt.KeyboardModifier.ControlModifier
    for k, panel in enumerate(shown.panels):
        before = shown.docks[panel.name].isVisible()
        assert before == (panel is not shown.behaviour)  # which is shown once a decoder runs
        press(qtbot, shown, Qt.Key(Qt.Key.Key_1.value + k), control)
        assert shown.docks[panel.name].isVisible() != before
    press(qtbot, shown, Qt.Key.Key_0, control)
    assert all(dock.isVisible() for dock in shown.docks.values())
    told = []
    shown.questions.inform = lambda *words: told.append(words)
    press(qtbot, shown, Qt.Key.Key_F1)
    assert "Ctrl+O" in told[0][1]


def test_letters_that_are_typed_are_no_shortcuts(qtbot, window, files):
    shown = window()
    shown.replay.open(files.recording)
    activate(qtbot, shown)
    shown.controls.note.setFocus()
    qtbot.keyClicks(shown.controls.note, "m . ")
    assert shown.controls.note.text() == "m . "
    assert shown.replay.player is None


def test_the_state_space_turns(qtbot, window):
    space = window().space
    space.dimensions.setCurrentIndex(1)
    flat = space.flat
    flat.deep = True
    before = flat.azimuth, flat.elevation
    view = flat.viewport()
    left = Qt.MouseButton.LeftButton
    qtbot.mousePress(view, left, pos=QPoint(50, 50))
    move = QMouseEvent(
        QEvent.Type.MouseMove, QPointF(70, 60), view.mapToGlobal(QPointF(70, 60)), left, left,
        Qt.KeyboardModifier.NoModifier,
    )  # fmt: skip
    QApplication.sendEvent(view, move)
    qtbot.mouseRelease(view, left, pos=QPoint(70, 60))
    assert (flat.azimuth, flat.elevation) == (before[0] - 10.0, before[1] + 5.0)


def test_layout_and_theme_are_remembered(qtbot, window, tmp_path):
    settings = tmp_path / "kept.ini"
    first = window(settings)
    first.set_theme(THEMES["light"])
    first.docks["space"].hide()
    first.close()
    second = window(settings)
    assert second.theme.name == "light"
    assert not second.docks["space"].isVisible()


@pytest.mark.parametrize("size", [(1280, 720), (3840, 2160)])
def test_it_fits_the_screen(qtbot, window, size):
    shown = window()
    shown.resize(*size)
    shown.arrangement.reset()
    qtbot.wait(50)
    assert shown.size().toTuple() == size
    assert all(panel.height() > 100 for panel in shown.panels)


def test_hundreds_of_units_over_a_minute_are_drawn_all(qtbot, window, files):
    import numpy as np

    from bci_lfads_gui.model.spikes import SpikeStore

    shown = window()
    shown.resize(1920, 1080)
    now = pylsl.local_clock()
    store = SpikeStore(tuple(f"u{k}" for k in range(300)), span=60.0)
    rng = np.random.default_rng(0)
    times = np.sort(rng.uniform(now - 60.0, now, 300_000))
    units = rng.integers(0, 300, len(times)).astype(np.int32)
    store.add(times, units, np.ones(len(times), np.int32))
    shown.store.spikes = store
    shown.raster.span.setCurrentText("60")
    shown._timer.stop()
    for _ in range(10):
        store.advance(pylsl.local_clock())
        shown.raster.refresh()
        shown.raster.view.viewport().repaint()
    drawn = shown.raster._image.image
    assert 300 in drawn.shape
    by_unit = drawn.sum(axis=1 - drawn.shape.index(300))
    assert (by_unit > 0).all()
