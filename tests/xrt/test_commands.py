"""`bci-lfads fpga …`, and a rig over LSL, on the real Xilinx Runtime with an emulated card."""

import json
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from e2e.conftest import command, model_of, rig_of  # noqa: F401  (fixtures)
from e2e.test_streamed_equals_offline import Reader, shifted

from bci_lfads.engines import open_engine
from bci_lfads.models.model import Model
from bci_lfads.offline import cut, infer_all
from bci_lfads.recordings import write
from bci_lfads.recordings.simulate import simulate_lorenz

pytestmark = pytest.mark.xrt


def document(out: str):
    """Return the JSON that a command printed, behind what the runtime printed."""
    return json.loads(out[out.index("{") :])


def test_info_says_what_the_kernel_was_compiled_for(emulation):
    code, out, err = emulation.cli("fpga", "info", "--xclbin", emulation.xclbin(), "--json")
    assert code == 0, err
    found = document(out)
    assert found["kernel_protocol"] == 2
    assert found["maxima"]["n_units"] >= 70
    assert "u55c" in found["card"]


def test_selftest_passes_and_fails(emulation):
    code, out, err = emulation.cli("fpga", "selftest", "--xclbin", emulation.xclbin(), "--json")
    assert code == 0, err
    found = document(out)
    assert found["passed"]
    assert len(found["cases"]) == 13
    assert all(c["card_right"] == c["native_right"] == 10 for c in found["cases"])
    code, out, err = emulation.cli(
        "fpga", "selftest", "--xclbin", emulation.xclbin(), "--json", fault="flip"
    )
    assert code == 1, err
    found = document(out)
    assert not found["passed"]
    assert all(c["card_right"] < c["native_right"] == 10 for c in found["cases"])


def test_load_and_bench(emulation):
    xclbin = emulation.xclbin()
    code, out, err = emulation.cli("fpga", "load", "--xclbin", xclbin, "--json")
    assert code == 0, err
    assert document(out)["milliseconds_to_load_a_model"] > 0
    code, out, err = emulation.cli("fpga", "bench", "--xclbin", xclbin, "--windows", 20)
    assert code == 0, err
    assert "EMULATED, sw_emu: says nothing about a card" in out
    for step in ("counts to the card", "waiting for the kernel", "results back", "native engine"):
        assert step in out


def test_without_an_xclbin_it_says_how_to_get_one(emulation):
    code, _, err = emulation.cli("fpga", "info")
    assert code == 1
    assert "BCI_LFADS_XCLBIN" in err
    assert "make -C fpga xclbin" in err


N_BINS, WIDTH = 30, 0.01
RIG = """
name = "{name}"
model = "model.safetensors"
engine = "fpga"
[fpga]
xclbin = "{xclbin}"
timeout = {timeout}
launch = "{launch}"
fallback = "native"
[input.spikes]
name = "{name} S"
[input.markers]
name = "{name} M"
[window]
mode = "trials"
start = "trial/start"
[binning]
hold_off = 0.3
"""


@pytest.mark.lsl
@pytest.mark.parametrize(
    ("launch", "fails"), [("per-trial", False), ("per-trial", True), ("persistent", False)]
)
def test_a_rig_on_the_card_streams_the_native_engines_factors(
    emulation, unique, tmp_path, command, model_of, launch, fails  # noqa: F811
):  # fmt: skip
    recording = simulate_lorenz(4, n_units=12, rate=20.0, trial_length=0.4, gap=(0.1, 0.2), seed=3)
    write(recording, tmp_path / "recording.npz")
    model: Model = model_of(recording.unit_labels, N_BINS, WIDTH)
    model.save(tmp_path / "model.safetensors")
    rig_file: Path = tmp_path / "rig.toml"
    rig_file.write_text(
        RIG.format(
            name=unique, xclbin=emulation.xclbin().name, launch=launch, timeout=0.5 if fails else 10
        )
    )
    # info, load, warm-up and two trials are well
    loop = emulation.start(
        sys.executable, "-m", "bci_lfads", "--quiet", "run", rig_file, "--json",
        fault="hang:5" if fails else "",
    )  # fmt: skip
    reader = Reader(f"{unique} TrialFactors", tmp_path / "factors.npz")
    played = command(
        "replay", tmp_path / "recording.npz", "--spikes", f"{unique} S", "--markers", f"{unique} M",
        "--wait", 30, "--json",
    ).result()  # fmt: skip
    heard = reader.finish()
    loop.send_signal(signal.SIGINT)
    code, out, err = emulation.finish(loop)
    assert code == 0, err
    status = document(out)["status"]
    rig = rig_of(unique, {"mode": "trials", "start": "trial/start"})
    batch = cut(shifted(recording, played["first_stamp"]), model, rig.window)
    with open_engine("native", model) as native:
        offline = infer_all(native, batch.counts)
    assert len(batch.counts) == 4
    samples = heard["samples"].reshape(4, N_BINS, -1)
    np.testing.assert_array_equal(samples[..., :3], offline.factors)
    assert status["counters"]["windows"] == 4
    assert status["counters"]["engine_errors"] == 0
    assert status["engine"] == ("native" if fails else "fpga")
    assert ("computes the same numbers instead of the card" in err) == fails
