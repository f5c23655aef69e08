"""Bytes of any kind to each parser of a file or a stream: read, or refused, never anything else.

Each parser is given damaged copies of what it reads, and random bytes. ``--fuzz-cases=N`` tries N
of each; by default it is a short form. What a case may take at most is asserted: memory always,
time as a bound that only a hang would break.
"""

import random
import tracemalloc
import warnings
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest
from models.float_models import random_float_model
from streams import stream_headers

from bci_lfads.cli.orders import obey
from bci_lfads.errors import BciLfadsError
from bci_lfads.headers import parse_header
from bci_lfads.models.model import Model
from bci_lfads.recordings import Recording, read, write
from bci_lfads.recordings.recording import Markers
from bci_lfads.rig import load_rig
from bci_lfads.streams.decoders import DecoderCounters, make_decoder

pytestmark = [pytest.mark.fault("fuzz"), pytest.mark.timeout(3600)]
MOST = 64 << 20  # bytes of Python's memory that one case may take


def damaged(rng: random.Random, seeds: list[bytes]) -> bytes:
    """Return a seed with bytes altered, cut out, doubled or put in, or bytes of any kind."""
    if rng.random() < 0.05:
        return rng.randbytes(rng.randrange(600))
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        at = rng.randrange(len(data) + 1)
        piece = data[at : at + rng.choice((1, 2, 8, 64))]
        match rng.randrange(6):
            case 0:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                data[at : at + 8] = rng.choice((b"\xff" * 8, b"\0" * 8, b"\x7f" + b"\xff" * 7))
            case 2:
                del data[at : at + len(piece)]
            case 3:
                data[at:at] = piece * rng.randrange(1, 40)
            case 4:
                data[at : at + 1] = bytes([data[at] ^ (1 << rng.randrange(8))] if piece else b"")
            case 5:
                del data[at + rng.randrange(1, 4096) :]
    return bytes(data)


def recording() -> Recording:
    from bci_lfads.recordings import SpikeEvents

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


def of_header(folder: Path) -> bytes:
    import pylsl

    assert stream_headers.counts(("a", "b")).labels == ("a", "b")
    info = pylsl.StreamInfo("spikes", "Spikes", 2, 100.0, "int16", "s")
    channels = info.desc().append_child("channels")
    for label in ("a", "b"):
        channels.append_child("channel").append_child_value("label", label)
    info.desc().append_child_value("timestamp_reference", "end")
    return info.as_xml().encode()


PARSERS: dict[str, tuple[Callable[[Path], bytes], Callable[[Path], object], tuple]] = {
    "model file": (of_model, Model.load, (BciLfadsError,)),
    "rig file": (lambda _: RIG, load_rig, (BciLfadsError,)),
    "XDF": (of_xdf, read, (BciLfadsError,)),
    "npz": (of_recording(".npz"), read, (BciLfadsError,)),
    "HDF5": (of_recording(".h5"), read, (BciLfadsError,)),
    "NWB": (of_nwb, read, (BciLfadsError,)),
    "MAT": (of_mat, read, (BciLfadsError,)),
    "stream header": (of_header, read_header, (BciLfadsError, ValueError)),
    "orders": (
        lambda _: b"pause\nstep 2.5\nstep-to go*\nseek 3\nstop\n",
        read_orders,
        (ValueError,),
    ),
}

FEWER = {"NWB": 40}  # in the short form, for parsers that take long


@pytest.mark.parametrize("parser", PARSERS)
def test_damaged_input_is_read_or_refused(parser, tmp_path, request, record_property):
    seed, parse, refusals = PARSERS[parser]
    n_cases = request.config.getoption("--fuzz-cases") or FEWER.get(parser, 300)
    rng = random.Random(f"{parser} {n_cases}")
    seeds = [seed(tmp_path)]
    path = tmp_path / "case"
    refused = 0
    tracemalloc.start()
    try:
        for case in range(n_cases):
            data = damaged(rng, seeds)
            path.write_bytes(data)
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            try:
                parse(path)
            except refusals as refusal:
                refused += bool(str(refusal))
            except BaseException as error:
                (tmp_path / "found").write_bytes(data)
                pytest.fail(
                    f"case {case}, in {tmp_path}/found, is neither read nor refused: {error!r}"
                )
            assert tracemalloc.get_traced_memory()[1] - before < MOST, case
    finally:
        tracemalloc.stop()
    assert refused > 0.1 * n_cases
    record_property("cases", n_cases)


@pytest.mark.parametrize("text", ["[" * 5000, '{"state":' * 5000, "\0", '{"state":1e999}'])
def test_hostile_status_is_no_message(text):
    run_state = pytest.importorskip("bci_lfads_gui.model.run_state")
    assert run_state.parse(text) is None
