"""Decoded behaviour over the true one: the figures, the panel, and the panel on LSL."""

import json

import numpy as np
import pylsl
import pytest

from bci_lfads.about import about
from bci_lfads.models.model import Model
from bci_lfads.rig import load_rig
from bci_lfads.streams.metadata import stream_info
from bci_lfads_gui.model.agreement import agreement, truth_at
from bci_lfads_gui.model.health import Level
from bci_lfads_gui.model.ring import Ring
from bci_lfads_gui.model.run_state import parse
from bci_lfads_gui.model.shadow import shadow_light
from bci_lfads_gui.model.store import Series, Store
from bci_lfads_gui.palette import THEMES
from bci_lfads_gui.panels.behaviour import BehaviourPanel

CURSOR = ("x", "y", "vx", "vy", "target_x", "target_y")


def test_equal_rows_agree_wholly_and_a_mean_not_at_all():
    true = np.sin(np.linspace(0, 6, 200))
    assert agreement(true, true) == (pytest.approx(1.0), pytest.approx(1.0))
    r, r2 = agreement(2 * true + 1, true)
    assert r == pytest.approx(1.0)
    assert r2 < 0  # a wrong scale is wrong
    assert np.isnan(agreement(np.full(200, true.mean()), true)).all()
    assert np.isnan(agreement(true[:19], true[:19])).all()


def test_truth_is_known_between_samples_only():
    at = truth_at(np.array([-1.0, 0.05, 0.5, 2.0]), np.array([0.0, 0.1, 1.0]), np.array([0, 1, 2]))
    np.testing.assert_allclose(at, [np.nan, 0.5, np.nan, np.nan])


def test_a_shadow_is_shown_with_the_figures_it_has():
    assert shadow_light({}) is None
    assert shadow_light({"shadow": None}) is None
    said = {"engine": "torch", "compared": 9, "equal": 0, "skipped": 0, "failed": 0,
            "largest_difference": 2.5e-6, "newest_difference": 1e-6,
            "rms_difference": 1e-7}  # fmt: skip
    message = parse(json.dumps({"state": "running", "shadow": said}))
    well = shadow_light(message.content)
    assert well.level == Level.OK
    assert "shadow torch: 9 windows compared" in well.reason
    assert "largest difference of a factor 2.5e-06" in well.reason
    bad = shadow_light({"shadow": said | {"failed": 2}})
    assert bad.level == Level.WARN
    assert bad.reason.endswith("2 failed")


def filled(labels, values, times):
    series = Series(labels, rows=Ring(6000, len(labels)))
    series.rows.extend(times, values)
    return series


@pytest.fixture
def panel(qtbot):
    made = BehaviourPanel(Store(rig="R"))
    qtbot.addWidget(made)
    made.set_theme(THEMES["dark"])
    return made


@pytest.mark.gui
def test_without_a_decoder_it_says_how_to_start_one(panel):
    panel.refresh()
    assert "bci-lfads decode run DECODER R" in panel.note.text()
    assert panel.table()[1] == []


@pytest.mark.gui
def test_channels_of_the_same_name_and_the_cursor_are_drawn(panel):
    times = 100 + 0.01 * np.arange(700)
    decoded = np.stack([np.sin(times), np.cos(times), times], axis=1).astype(np.float32)
    true = np.stack([times - 103, 0 * times, 2 * np.sin(times), np.cos(times), 0 * times + 4,
                     0 * times + 5], axis=1).astype(np.float32)  # fmt: skip
    panel.store.decoded = filled(("vx", "vy", "extra"), decoded, times)
    panel.store.truth = filled(CURSOR, true, times)
    panel.refresh()
    assert "vx: r <b>1.00</b>" in panel.note.text()
    assert "extra" not in panel.note.text()
    view = panel.view
    ((true_vx, of_vx),), _, ((true_extra, _),) = view.of_traces
    x, y = of_vx.getData()
    assert x[-1] == 0.0
    assert x[0] == pytest.approx(-5.0, abs=0.011)
    np.testing.assert_allclose(y, np.sin(x + times[-1]), atol=1e-6)
    np.testing.assert_allclose(true_vx.getData()[1], 2 * y, atol=1e-6)
    assert np.isnan(true_extra.getData()[1]).all()
    # The plane shows the cursor and its target; a velocity is no place.
    assert view.of_plane[0][0].getData()[0][-1] == pytest.approx(times[-1] - 103, abs=1e-4)
    assert view.target.getData()[0][0] == 4.0
    header, rows = panel.table()
    assert header == ("trial", "label", "time_s", "vx", "vy", "extra", "true vx", "true vy",
                      "true extra")  # fmt: skip
    assert len(rows) == 500
    # At rest there is no target, and what the cursor does then is no movement.
    true[:, 4:] = np.nan
    panel.store.truth = filled(CURSOR, true, times)
    panel.refresh()
    assert not len(view.target.getData()[0])
    assert np.isnan(view.of_plane[0][0].getData()[0]).all()


@pytest.mark.gui
def test_a_decoder_of_later_behaviour_is_compared_with_that(panel):
    times = 0.01 * np.arange(600)
    panel.store.decoded = filled(("v",), np.sin(times + 0.1)[:, None], times)
    panel.store.decoded.lag = 0.1
    panel.store.truth = filled(("v",), np.sin(times)[:, None], times)
    panel.refresh()
    assert "v: r <b>1.00</b>, R² <b>1.00</b>" in panel.note.text()
    assert "100 ms after its bins" in panel.note.text()


@pytest.mark.gui
def test_without_the_truth_the_first_two_channels_are_the_plane(panel):
    times = 0.01 * np.arange(100)
    rows = np.stack([times, -times, times * 0 + 7], axis=1)
    rows[50:, 0] += 2
    times[50:] += 1.0
    panel.store.decoded = filled(("a", "b", "c"), rows, times)
    panel.refresh()
    assert "the true behaviour is not known" in panel.note.text()
    x, y = panel.view.of_plane[0][1].getData()
    assert (x[-1], y[-1]) == (pytest.approx(2.99), pytest.approx(-0.99))
    assert np.isnan(x).sum() == 1, "a gap in the stamps is a gap in what is drawn"
    for k, (plane, traces) in enumerate(((True, 3), (False, 3), (True, 0))):
        panel.view_of.setCurrentIndex(k)
        panel.refresh()
        assert (panel.view.plane is not None, len(panel.view.traces)) == (plane, traces)
    panel.watch(Store(rig="other"))
    panel.refresh()
    assert panel.view.plane is None
    assert panel.table()[1] == []


@pytest.mark.gui
def test_trials_lie_over_each_other_by_condition(panel, files):
    rig = load_rig(files.rig)
    store = panel.store
    store.begin_run(about(rig, Model.load(rig.model)))
    n, width = store.about.n_bins, store.about.bin_width
    store.decoded = Series.of(("vx", "vy"), store.about)
    truth_times = 0.005 * np.arange(2000)
    store.truth = filled(("vy", "vx"), np.stack([0 * truth_times, truth_times], 1), truth_times)
    starts = (1.0, 2.0, 3.0)
    for k, start in enumerate(starts):
        bins = np.arange(n)
        stamps = start + (bins + 0.5) * width
        rows = np.stack([stamps, bins, np.full(n, k), bins], axis=1).astype(np.float32)
        store.decoded.trials.add(stamps, rows)
        said = {"state": "running", "trial": {"trial": k, "label": ("left", "right")[k % 2]}}
        store.take_message(parse(json.dumps(said)), 0.0)
    panel.refresh()
    assert "newest: trial 2 (bold)" in panel.note.text()
    assert all(label in panel.note.text() for label in ("left", "right", "vx: r <b>1.00"))
    curves = panel.view.of_traces[0]
    x, y = curves[0][1].getData()
    np.testing.assert_allclose(x, store.zero_offset() + (np.arange(n) + 0.5) * width)
    np.testing.assert_allclose(y, 3.0 + (np.arange(n) + 0.5) * width, rtol=1e-6)
    np.testing.assert_allclose(curves[0][0].getData()[1], y, rtol=1e-5)
    colours = [pair[1].opts["pen"].color().name() for pair in curves[:3]]
    assert colours[0] == colours[2] != colours[1]
    assert curves[2][1].opts["pen"].color().alphaF() < 1.0
    _, rows = panel.table()
    assert len(rows) == 3 * n
    assert rows[0][:2] == (0, "left")


def outlet(name, labels, rate=100.0):
    info = stream_info(name, "Behaviour", source_id=name, labels=labels, rate=rate, desc={})
    return pylsl.StreamOutlet(info)


@pytest.mark.gui
@pytest.mark.lsl
def test_what_is_decoded_is_drawn_over_what_was(qtbot, window, files):
    decoded = outlet(f"{files.name} DecodedBehaviour", ("vx", "vy"))
    hand = outlet(f"{files.name} Hand", ("x", "vy", "vx"))
    other = outlet(f"{files.name} Other", ("pupil",))
    shown = window()
    shown.open_rig_file(files.rig)
    assert not shown.docks["behaviour"].isVisible()
    qtbot.waitUntil(lambda: decoded.have_consumers(), timeout=90_000)
    start = pylsl.local_clock()

    def push(outlet, rows):
        outlet.push_chunk(rows.astype(np.float32), (start + 0.01 * np.arange(len(rows))).tolist())

    t = np.arange(300)
    vx, vy = np.sin(t / 20), np.cos(t / 20)
    push(decoded, np.column_stack([vx, -vy]))
    qtbot.waitUntil(lambda: shown.docks["behaviour"].isVisible(), timeout=90_000)
    # Two streams could be the truth (others of the machine too): the operator says which.
    stream = None

    def found():
        nonlocal stream
        stream = next((s for s in shown.found if s.name == f"{files.name} Hand"), None)
        return stream is not None

    qtbot.waitUntil(found, timeout=90_000)
    shown.use(stream)
    qtbot.waitUntil(lambda: hand.have_consumers(), timeout=90_000)
    push(hand, np.column_stack([0 * t, vy, vx]))
    qtbot.waitUntil(lambda: "vx: r <b>1.00" in shown.behaviour.note.text(), timeout=90_000)
    assert "vy: r <b>-1.00" in shown.behaviour.note.text()
    assert not other.have_consumers()


@pytest.mark.gui
@pytest.mark.lsl
def test_the_rigs_own_cursor_needs_no_choice(qtbot, window, files):
    outlets = [
        outlet(f"{files.name} {name}", labels)
        for name, labels in (("DecodedBehaviour", ("vx", "vy")), ("Cursor", CURSOR))
    ]
    other = outlet(f"{files.name} Other", ("vx",))
    shown = window()
    shown.open(str(files.rig))
    qtbot.waitUntil(lambda: all(o.have_consumers() for o in outlets), timeout=90_000)
    start = pylsl.local_clock()
    for each in outlets:
        for k in range(40):
            each.push_sample([float(k)] * each.channel_count, start + 0.01 * k)
    qtbot.waitUntil(lambda: " true · " in shown.behaviour.note.text(), timeout=90_000)
    assert not other.have_consumers()
