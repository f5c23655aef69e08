"""Every parser of a file or a stream, with what it reads well and how it may refuse."""

import json
import warnings
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
import pytest
from models import keras_files, lfads_torch_files
from models.float_models import random_float_model
from streams import stream_headers

from bci_lfads.about import ELEMENT, about, read_about
from bci_lfads.cli.orders import obey
from bci_lfads.decoding.file import Decoder
from bci_lfads.errors import BciLfadsError
from bci_lfads.headers import parse_header
from bci_lfads.journal import CHANNELS
from bci_lfads.lsl_config import VARIABLE, config_of
from bci_lfads.models.importers import import_model
from bci_lfads.models.keras_import import import_keras
from bci_lfads.models.model import Model
from bci_lfads.offline import read_counts
from bci_lfads.recordings import Recording, SpikeEvents, read, write
from bci_lfads.recordings.files import read_here
from bci_lfads.recordings.recording import Markers
from bci_lfads.recordings.xdf_writer import XdfWriter
from bci_lfads.rig import LslSettings, load_rig, parse_rig
from bci_lfads.streams.decoders import DecoderCounters, make_decoder
from bci_lfads.streams.metadata import stream_info
from bci_lfads.streams.outlets import LATENCY_CHANNELS
from bci_lfads.triggers.rules import load_rules
from bci_lfads.verification.session import load_runs

ROOT = Path(__file__).parents[2]


def recording() -> Recording:
    rng = np.random.default_rng(0)
    times = np.sort(rng.random(60))
    spikes = SpikeEvents(times, rng.integers(0, 3, 60).astype(np.int32))
    marks = Markers(np.array([0.1, 0.5]), ("trial/start", "go"))
    return Recording(spikes, ("a", "b", "c"), 0.0, 1.0, marks)


def of_recording(suffix: str) -> Callable[[Path], bytes]:
    def seed(folder: Path) -> bytes:
        path = folder / f"seed{suffix}"
        write(recording(), path)
        return path.read_bytes()

    return seed


def of_xdf(folder: Path) -> bytes:
    from recordings import xdf_bytes

    return xdf_bytes.small()


def of_nwb(folder: Path) -> bytes:
    pynwb = pytest.importorskip("pynwb")
    file = pynwb.NWBFile("made for a test", "test", datetime(2024, 5, 1, tzinfo=timezone.utc))
    for times in ([0.5, 2.0], [1.0]):
        file.add_unit(spike_times=np.array(times))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pynwb's, on its own ways
        with pynwb.NWBHDF5IO(str(folder / "seed.nwb"), "w") as io:
            io.write(file)
    return (folder / "seed.nwb").read_bytes()


def of_mat(folder: Path) -> bytes:
    io = pytest.importorskip("scipy.io")
    trial = np.zeros(2, [("trialId", object), ("neuralSpikes", object)])
    io.savemat(folder / "seed.mat", {"train_trial": trial, "x": np.eye(3)}, do_compression=False)
    return (folder / "seed.mat").read_bytes()


def of_model(folder: Path) -> bytes:
    random_float_model().save(folder / "seed.safetensors")
    return (folder / "seed.safetensors").read_bytes()


RIG = b"""name = "R"
model = "m.safetensors"
[input.spikes]
name = "S"
[input.markers]
name = "M"
[input.units]
u0 = "12/0"
[window]
mode = "trials"
start = "trial/*"
[loop]
queue = 3
[supervision]
silence = inf
[realtime]
cpus = [0]
"""


def read_header(path: Path) -> None:
    """Read a stream's description, and make what turns its samples into spikes."""
    header = parse_header(path.read_bytes().decode("utf-8", "replace"))
    decoder, _ = make_decoder(
        header, ("a", "b"), {}, bin_width=0.01, form="auto", declared=None, reference=None,
        counters=DecoderCounters(),
    )  # fmt: skip
    kind = decoder.dtype
    n = min(header.n_channels, 64)
    if kind is not None and n == header.n_channels:
        decoder.decode(np.full((3, n), 1, kind), np.array([1.0, np.nan, 2.0]))


class Control:
    """A replay's control that does nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


def read_orders(path: Path) -> None:
    for line in path.read_bytes().decode("utf-8", "replace").splitlines():
        obey(line, Control())


MODEL = random_float_model()
SLIDING = {
    "name": "R", "model": "m.safetensors", "input": {"spikes": {"name": "R S"}},
    "window": {"mode": "sliding"},
}  # fmt: skip
ABOUT = about(parse_rig(SLIDING, Path("rig.toml")), MODEL)


def of_session(folder: Path) -> bytes:
    """Return a session of a run, with a row or two in each of its streams."""
    writer = XdfWriter(folder / "seed.xdf")
    for word, labels, form, values in (
        ("S", ("id",), "int32", np.array([[3], [1]])),
        ("Status", ("status",), "string", [['{"state":"running"}'], ['{"state":"stopped"}']]),
        ("Journal", CHANNELS, "double64", np.zeros((2, len(CHANNELS)))),
        ("Latency", LATENCY_CHANNELS, "double64", np.zeros((2, len(LATENCY_CHANNELS)))),
        ("Factors", ("factor_0", "factor_1"), "float32", np.zeros((2, 2))),
    ):
        info = stream_info(
            f"R {word}", "T", source_id=f"bci-lfads:R:{word}", labels=labels, form=form,
            desc={ELEMENT: ABOUT.to_text()} if word == "Status" else None,
        )  # fmt: skip
        number = writer.stream(info.as_xml(), form)
        writer.samples(number, values, np.array([1.0, 2.0]))
        writer.footer(number)
    writer.close()
    return (folder / "seed.xdf").read_bytes()


def read_description(path: Path) -> None:
    """Read what a run says of itself, as its Status stream has it."""
    text = path.read_bytes().decode("utf-8", "replace")
    info = stream_info("R Status", "Markers", source_id="s", labels=("status",), form="string")
    header = parse_header(info.as_xml())
    assert header.info.find("desc") is not None
    ElementTree.SubElement(header.info.find("desc"), ELEMENT).text = text
    read_about(header)


def read_lsl_settings(path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(path))
        config_of(LslSettings(session_id="x", known_peers=("a",)))


def of_counts(folder: Path) -> bytes:
    np.save(folder / "seed.npy", np.zeros((3, 9, 7), np.uint8))
    return (folder / "seed.npy").read_bytes()


def of_header(folder: Path) -> bytes:
    import pylsl

    assert stream_headers.counts(("a", "b")).labels == ("a", "b")
    info = pylsl.StreamInfo("spikes", "Spikes", 2, 100.0, "int16", "s")
    channels = info.desc().append_child("channels")
    for label in ("a", "b"):
        channels.append_child("channel").append_child_value("label", label)
    info.desc().append_child_value("timestamp_reference", "end")
    return info.as_xml().encode()


RULES = b"""rig = "R"
log = "log.jsonl"
limit = { count = 5, seconds = 60 }
[[rule]]
name = "fast"
when = "above"
channel = "vx"
threshold = 5.0
"""
ORDERS = b"pause\nstep 2.5\nstep-to go*\nseek 3\nstop\n"


def of_keras(folder: Path) -> bytes:
    return keras_files.write(folder / "seed.h5", *keras_files.small()).read_bytes()


def of_lfads_torch(folder: Path) -> bytes:
    pytest.importorskip("torch")
    weights = lfads_torch_files.state(lfads_torch_files.HP, 7)
    return lfads_torch_files.write(folder / "seed.ckpt", weights, lfads_torch_files.HP).read_bytes()


def read_message(path: Path) -> None:
    """Read a message on Status as the live window does, which passes over what is none."""
    run_state = pytest.importorskip("bci_lfads_gui.model.run_state")
    if run_state.parse(path.read_bytes()) is None:
        raise ValueError("no message")


STATUS = {
    "state": "degraded", "cause": "gap", "reason": "lost", "time": 1.5,
    "counters": {"windows": 3, "spikes": {"late": 1}}, "trial": {"trial": 1, "label": "go"},
}  # fmt: skip


class Parser(NamedTuple):
    """One that is fuzzed."""

    seed: Callable[[Path], bytes]
    """Makes, given a folder, a file that it reads."""
    parse: Callable[[Path], object]
    refusals: tuple[type[Exception], ...] = (BciLfadsError,)
    """What it may raise."""
    n_cases: int = 300
    """In the short form; fewer where they take long."""
    apart: bool = False
    """Whether the package has a process of its own read such a file, which may hang or end."""


PARSERS: dict[str, Parser] = {
    "model file": Parser(of_model, Model.load),
    "decoder file": Parser(
        lambda _: (ROOT / "replay_data/closed_loop_decoder.safetensors").read_bytes(), Decoder.load
    ),
    "Keras file": Parser(of_keras, import_keras, n_cases=100, apart=True),
    "lfads-torch checkpoint": Parser(of_lfads_torch, import_model, n_cases=100),
    "rig file": Parser(lambda _: RIG, load_rig),
    "rules of triggers": Parser(lambda _: RULES, load_rules),
    "XDF": Parser(of_xdf, read),
    "session": Parser(of_session, load_runs),
    "description of a run": Parser(lambda _: ABOUT.to_text().encode(), read_description),
    "LSL's settings": Parser(lambda _: (ROOT / "lsl_api.cfg").read_bytes(), read_lsl_settings),
    "counts": Parser(of_counts, lambda path: read_counts(path, MODEL)),
    "npz": Parser(of_recording(".npz"), read),
    "HDF5": Parser(of_recording(".h5"), read_here, apart=True),
    "NWB": Parser(of_nwb, read_here, n_cases=40, apart=True),
    "MAT": Parser(of_mat, read),
    "stream header": Parser(of_header, read_header, (BciLfadsError, ValueError)),
    "Status": Parser(lambda _: json.dumps(STATUS).encode(), read_message, (ValueError,)),
    "orders": Parser(lambda _: ORDERS, read_orders, (ValueError,)),
}
