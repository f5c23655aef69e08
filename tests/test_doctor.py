"""The doctor: what it finds of this machine, a rig, and the streams that are really there."""

import importlib.util
import threading
import time
from pathlib import Path

import numpy as np
import pylsl
import pytest
from models.float_models import random_float_model, small_spec

from bci_lfads.doctor import examine
from bci_lfads.engines import _native
from bci_lfads.streams.metadata import stream_info
from bci_lfads.streams.sources import MarkerSource, SpikeSource

pytestmark = pytest.mark.lsl
SPEC = small_spec()
SLIDING = 'mode = "sliding"'
UNITS = tuple(f"n{i}" for i in range(SPEC.n_units))


@pytest.fixture(scope="module")
def model_file(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("doctor") / "m.safetensors"
    random_float_model(SPEC).save(file)
    return file


@pytest.fixture
def rig(tmp_path, model_file, unique):
    """Write a rig file that reads `<unique> S` and `<unique> M`."""

    def write(window='mode = "trials"\nstart = "go"', *, top="", spikes="", rest="") -> Path:
        file = tmp_path / "rig.toml"
        file.write_text(
            f'name = "{unique}"\nmodel = "{model_file}"\n{top}\n'
            f'[input.spikes]\nname = "{unique} S"\n{spikes}\n'
            f'[input.markers]\nname = "{unique} M"\n[window]\n{window}\n{rest}\n'
        )
        return file

    return write


def found(rig_file=None, timeout=5.0):
    """Return the findings by what was looked at, and that none is told twice."""
    findings = list(examine(rig_file, timeout=timeout))
    by_name = {f.what: (f.verdict, f.found) for f in findings}
    assert len(by_name) == len(findings)
    return by_name


class Playing:
    """Does something every 10 ms, as a source does, while the context is open."""

    def __init__(self, push):
        self._push, self._over = push, threading.Event()
        self._thread = threading.Thread(target=self._body)

    def _body(self):
        while not self._over.wait(0.01):
            self._push(pylsl.local_clock())

    def __enter__(self):
        self._thread.start()

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()


# The machine


def test_a_machine_without_a_rig(monkeypatch):
    monkeypatch.delenv("XILINX_XRT", raising=False)
    looked_at = found()
    assert set(looked_at) - {"clock rate"} == {  # which not every kernel tells
        "LSL", "timer", "engine native", "engine torch", "engine fpga", "XRT", "Qt",
        "processors", "priority", "open files", "swap",
    }  # fmt: skip
    assert looked_at["LSL"][0] == "ok"
    assert "lsl_api.cfg" in looked_at["LSL"][1]
    verdict, found_ = looked_at["engine native"]
    assert verdict == "ok"
    assert f"takes the {_native.PATHS[0]} path" in found_
    assert looked_at["engine fpga"][0] == "note"
    assert looked_at["XRT"][0] == "note"
    assert "ms late (median)" in looked_at["timer"][1]


def test_a_configuration_of_lsl_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setenv("LSLAPICFG", str(tmp_path / "gone.cfg"))
    verdict, text = found()["LSL"]
    assert verdict == "fail"
    assert "gone.cfg, which is not there" in text


def test_the_xilinx_runtime_is_where_its_variable_says(monkeypatch, tmp_path):
    monkeypatch.setenv("XILINX_XRT", str(tmp_path))
    assert found()["XRT"] == ("ok", f"XILINX_XRT = {tmp_path}")
    monkeypatch.setenv("XILINX_XRT", str(tmp_path / "gone"))
    verdict, text = found()["XRT"]
    assert verdict == "note"
    assert "not there" in text


def test_a_window_needs_qt_but_a_run_does_not(monkeypatch):
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "qtpy" else there(name)
    )
    verdict, text = found()["Qt"]
    assert verdict == "note"
    assert "qtpy" in text
    assert "bci-lfads[gui]" in text


# A rig


def test_a_rig_whose_streams_are_there_and_fit(rig, unique):
    spikes = SpikeSource(f"{unique} S", UNITS)
    markers = MarkerSource(f"{unique} M")
    with Playing(lambda now: spikes.push(np.full(3, now), np.arange(3, dtype=np.int32))):
        looked_at = found(rig())
    spikes.close()
    markers.close()
    for what in ("rig file", "model", "rig and model", "engine speed", "spikes", "markers"):
        assert looked_at[what][0] == "ok", looked_at[what]
    assert "7 units, 9 bins of 10 ms, 3 factors" in looked_at["model"][1]
    assert "ms a window" in looked_at["engine speed"][1]
    text = looked_at["spikes"][1]
    assert text.startswith(f"'{unique} S' fits; ")
    assert int(text.split("; ")[1].split()[0]) > 30
    assert "0 samples in a second" in looked_at["markers"][1]
    assert not [text for verdict, text in looked_at.values() if verdict == "fail"]


def test_a_sliding_window_has_a_hop_and_needs_no_markers(rig, unique):
    source = SpikeSource(f"{unique} S", UNITS, "counts", bin_width=0.01)
    looked_at = found(rig('mode = "sliding"\nhop = 3'))
    source.close()
    assert looked_at["engine speed"][1].endswith("a window each 30 ms")
    assert looked_at["spikes"][0] == "ok"
    assert looked_at["markers"] == ("ok", "not used by a sliding window")


def test_units_that_the_stream_lacks_are_named(rig, unique):
    source = SpikeSource(f"{unique} S", UNITS[:-2])
    looked_at = found(rig(SLIDING))
    source.close()
    verdict, text = looked_at["spikes"]
    assert verdict == "fail"
    assert "model expects 7 units" in text
    assert "missing: n5, n6" in text


def test_units_that_are_called_otherwise_are_mapped_by_a_pattern(rig, unique):
    source = SpikeSource(f"{unique} S", [f"7-{i}" for i in range(SPEC.n_units)])
    looked_at = found(rig(SLIDING, rest='[input.units]\n"n*" = "7-*"'))
    source.close()
    assert looked_at["rig and model"][0] == looked_at["spikes"][0] == "ok"


def test_a_stream_of_rates_is_refused_unless_it_is_said_to_be_counts(rig, unique):
    info = stream_info(
        f"{unique} S", "Rates", source_id=unique, labels=UNITS, units="Hz", rate=100.0
    )
    outlet = pylsl.StreamOutlet(info)
    refused = found(rig(SLIDING))["spikes"]
    accepted = found(rig(SLIDING, spikes='declared_unit = "count"'))["spikes"]
    del outlet
    assert refused[0] == "fail"
    assert "is in Hz, and rates are no counts" in refused[1]
    assert accepted[0] == "ok", accepted


def test_streams_that_are_not_there_are_missed_and_what_is_there_is_named(rig, unique):
    other = MarkerSource(f"{unique} X")
    began = time.monotonic()
    looked_at = found(rig(), timeout=0.3)
    other.close()
    assert time.monotonic() - began < 8
    for what, name in (("spikes", "S"), ("markers", "M")):
        verdict, text = looked_at[what]
        assert verdict == "fail"
        assert f"no stream with name '{unique} {name}' yet after 0.3 s" in text
        assert f"'{unique} X'" in text


def test_markers_that_are_none(rig, unique):
    spikes = SpikeSource(f"{unique} S", UNITS)
    markers = SpikeSource(f"{unique} M", UNITS, "counts", bin_width=0.01)
    looked_at = found(rig())
    spikes.close()
    markers.close()
    verdict, text = looked_at["markers"]
    assert verdict == "fail"
    assert "7 channels at 100 Hz; markers come irregularly" in text


def test_a_rig_that_does_not_fit_its_model(rig):
    looked_at = found(rig('mode = "sliding"\nhop = 10'), timeout=0.1)
    verdict, text = looked_at["rig and model"]
    assert verdict == "fail"
    assert "window.hop is 10 bins; the model's window has 9" in text
    looked_at = found(rig(SLIDING, rest='[input.units]\nzz = "1/0"'), timeout=0.1)
    verdict, text = looked_at["rig and model"]
    assert verdict == "fail"
    assert "[input.units] maps 'zz', which the model does not have" in text


def test_an_engine_that_the_rig_asks_for_and_is_not_there(rig):
    looked_at = found(rig(SLIDING, top='engine = "fpga"'), timeout=0.1)
    assert looked_at["engine fpga"][0] == "fail"
    assert looked_at["engine speed"][0] == "fail"
    assert "Xilinx Runtime" in looked_at["engine speed"][1]


@pytest.mark.parametrize(
    ("content", "what", "says"),
    [
        ("name = ", "rig file", "not readable as TOML"),
        ('name = "R"', "rig file", "model: Field required"),
        (None, "rig file", "no rig file at"),
    ],
)
def test_a_rig_file_that_is_wrong_ends_it(tmp_path, content, what, says):
    file = tmp_path / "rig.toml"
    if content is not None:
        file.write_text(content)
    looked_at = found(file)
    assert looked_at[what][0] == "fail"
    assert says in looked_at[what][1]
    assert "model" not in looked_at


def test_a_model_that_is_missing_or_none(rig, model_file):
    file = rig()
    for content, says in ((None, "no model file at"), ("hello", "is not a safetensors file")):
        other = file.parent / "other.safetensors"
        if content is not None:
            other.write_text(content)
        file.write_text(file.read_text().replace(str(model_file), str(other)))
        looked_at = found(file)
        assert looked_at["rig file"][0] == "ok"
        assert looked_at["model"][0] == "fail"
        assert says in looked_at["model"][1]
        assert "spikes" not in looked_at


def test_a_pyside_that_ends_the_window_is_noted(monkeypatch):
    from bci_lfads import doctor

    pytest.importorskip("PySide6")
    assert found()["Qt"][0] == "ok"
    monkeypatch.setattr(doctor, "version", lambda _: "6.12.0")
    verdict, text = found()["Qt"]
    assert verdict == "note"
    assert "PySide6-Essentials!=6.12.0" in text
