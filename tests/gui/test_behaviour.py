"""Decoded behaviour against the true one, in the state space panel."""

import numpy as np
import pylsl
import pytest

from bci_lfads.streams.metadata import stream_info
from bci_lfads_gui.model.ring import Ring
from bci_lfads_gui.model.store import Series, Store
from bci_lfads_gui.palette import THEMES
from bci_lfads_gui.panels.space import SpacePanel

pytestmark = pytest.mark.gui
CURSOR = ("x", "y", "vx", "vy", "target_x", "target_y")


def filled(labels, values, times):
    series = Series(labels, rows=Ring(6000, len(labels)))
    series.rows.extend(times, values)
    return series


@pytest.fixture
def panel(qtbot):
    store = Store(rig="R")
    made = SpacePanel(store)
    qtbot.addWidget(made)
    made.set_theme(THEMES["dark"])
    made.shown.setCurrentIndex(1)
    return made


def test_without_a_decoder_it_says_how_to_start_one(panel):
    panel.refresh()
    assert "bci-lfads decode run DECODER R" in panel.note.text()
    assert panel.table()[1] == []


def test_decoded_and_true_channels_of_the_same_name_are_drawn_together(panel):
    times = 100 + 0.01 * np.arange(700)
    decoded = np.stack([np.sin(times), np.cos(times), times], axis=1).astype(np.float32)
    true = np.stack([times - 103, 0 * times, 2 * np.sin(times), np.cos(times), 0 * times + 4,
                     0 * times + 5], axis=1).astype(np.float32)  # fmt: skip
    panel.store.behaviour = filled(("vx", "vy", "extra"), decoded, times)
    panel.store.cursor = filled(CURSOR, true, times)
    panel.refresh()
    assert panel.note.text() == "decoded (colour) against true (grey): vx, vy"
    view = panel.behaviour
    (of_vx, true_vx), _, (_, true_extra) = view._curves
    x, y = of_vx.getData()
    assert x[-1] == 0.0
    assert x[0] == pytest.approx(-5.0, abs=0.011)
    np.testing.assert_allclose(y, np.sin(x + times[-1]), atol=1e-6)
    np.testing.assert_allclose(true_vx.getData()[1], 2 * y, atol=1e-6)
    assert not len(true_extra.getData()[0])
    # The plane shows the cursor and its target.
    assert view._paths[0].getData()[0][-1] == pytest.approx(times[-1] - 103, abs=1e-4)
    assert view._target.getData()[0][0] == 4.0
    header, rows = panel.table()
    assert header == ("seconds_before_now", "vx", "vy", "extra")
    assert len(rows) == 500
    # At rest there is no target.
    true[:, 4:] = np.nan
    panel.store.cursor = filled(CURSOR, true, times)
    panel.refresh()
    assert not len(view._target.getData()[0])


def test_without_the_truth_the_first_two_channels_are_the_plane(panel):
    times = 0.01 * np.arange(100)
    rows = np.stack([times, -times, times * 0 + 7, np.arange(100)], axis=1)
    panel.store.behaviour = filled(("a", "b", "trial", "bin"), rows, times)
    panel.refresh()
    assert "the true behaviour is not published" in panel.note.text()
    assert panel.behaviour._paths[0].getData()[1][-1] == pytest.approx(-0.99)
    assert len(panel.behaviour._traces) == 2, "trial and bin are no behaviour"
    panel.watch(Store(rig="other"))
    panel.refresh()
    assert not len(panel.behaviour._paths[0].getData()[0])


@pytest.mark.lsl
def test_the_windows_reader_finds_both(qtbot, window, files):
    outlets = [
        pylsl.StreamOutlet(
            stream_info(f"{files.name} {name}", "Behaviour", source_id=f"{files.name} {name}",
                        labels=labels, rate=100.0)
        )
        for name, labels in (("DecodedBehaviour", ("vx", "vy")), ("Cursor", CURSOR))
    ]  # fmt: skip
    shown = window()
    shown.open(str(files.rig))
    shown.space.shown.setCurrentIndex(1)
    qtbot.waitUntil(lambda: all(o.have_consumers() for o in outlets), timeout=15_000)
    for outlet in outlets:
        for k in range(5):
            outlet.push_sample([float(k)] * outlet.channel_count, pylsl.local_clock())
    qtbot.waitUntil(lambda: "against true (grey)" in shown.space.note.text(), timeout=10_000)
