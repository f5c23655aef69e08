"""Files that hang or crash what reads them, or ask too much of it, are refused with the reason."""

import logging
import os
import signal
from pathlib import Path

import h5py
import numpy as np
import pytest
from hdf5_damage import make_endless
from models import keras_files

from bci_lfads import apart
from bci_lfads.errors import ModelError, RecordingError
from bci_lfads.models.importers import import_model
from bci_lfads.models.keras_import import import_keras
from bci_lfads.recordings import read

pytestmark = pytest.mark.fault("model-file")


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(apart, "SECONDS", 3.0)


def test_a_keras_file_that_keeps_the_library_busy_for_ever_is_refused(tmp_path, impatient):
    path = make_endless(keras_files.write(tmp_path / "m.h5", *keras_files.small()))
    with pytest.raises(ModelError, match=r"m\.h5 took longer than 3 s to read.* damaged"):
        import_model(path)


def test_a_recording_that_keeps_the_library_busy_for_ever_is_refused(tmp_path, impatient):
    path = tmp_path / "r.h5"
    with h5py.File(path, "w") as file:
        file.attrs["format"] = "bci-lfads recording"
    with pytest.raises(RecordingError, match=r"r\.h5 took longer than 3 s to read.* damaged"):
        read(make_endless(path))


def test_the_model_is_the_one_that_is_read_here(tmp_path, monkeypatch):
    path = keras_files.write(tmp_path / "m.h5", *keras_files.small())
    monkeypatch.chdir(tmp_path)
    model, here = import_model("m.h5", 0.02), import_keras(path, bin_width=0.02)
    assert model.hash == here.hash
    assert model.provenance == here.provenance
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(ModelError, match=r"^m\.h5 cannot be read as a Keras HDF5 file"):
        import_model("m.h5")


def end(path, out):
    os.kill(os.getpid(), signal.SIGSEGV)


def take(path, out):
    np.ones(2 * apart.MEMORY // 8)


def break_(path, out):
    raise LookupError("what nobody thought of")


def speak(path, out):
    logging.getLogger("bci_lfads.x").warning("%s is odd", path)
    logging.getLogger("bci_lfads.x").debug("not asked for")
    out.write_text(path.read_text().upper())


def fill(path, out):
    with open("/dev/full", "w") as full:
        full.write("x")


@pytest.fixture
def converter(monkeypatch):
    """Return what is asked of `apart`, with this module found there too."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    return lambda convert, path: apart.read_apart(convert, path, Path.read_text, RecordingError)


@pytest.mark.parametrize(
    ("convert", "says"),
    [
        (end, r"ended the process that read it \(SIGSEGV\)"),
        (take, "takes more than 8 GiB of memory"),
        (break_, "LookupError: what nobody thought of"),
        (fill, "cannot be written: No space left"),
    ],
)
def test_what_a_reader_does_is_told(tmp_path, converter, convert, says):
    path = tmp_path / "file"
    path.write_text("x")
    with pytest.raises(RecordingError, match=f"{path} .*{says}"):
        converter(convert, path)


def test_what_is_logged_there_is_logged_here(tmp_path, converter, caplog, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("content")
    with caplog.at_level(logging.INFO):
        assert converter(speak, Path("file")) == "CONTENT"
    assert caplog.messages == ["file is odd"]


def test_a_file_that_is_not_there_is_told(tmp_path, converter):
    with pytest.raises(RecordingError, match="No such file"):
        converter(speak, tmp_path / "none")
