"""The examples: each decodes what a rig publishes, with the factors' stamps."""

import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pylsl
import pytest
from decoding.conftest import plain_decoder
from streams.served import until

from bci_lfads.streams.outlets import Outlets, OutletSettings

pytestmark = pytest.mark.lsl
EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
WIDTH = 0.02


class Small:
    """All that a decoder needs to know of a model."""

    class spec:  # noqa: N801
        n_factors = 3

    hash, bin_width = "c0ffee", WIDTH


@pytest.mark.parametrize(
    ("example", "module"),
    [("decoder_pylsl", "pylsl"), ("decoder_mne_lsl", "mne_lsl"), ("decoder_ezmsg", "ezmsg.lsl")],
)
def test_an_example_decodes(example, module, unique, tmp_path):
    try:
        found = find_spec(module)
    except ModuleNotFoundError:
        found = None
    if found is None:
        pytest.skip(f"{module} is not installed (extra dev)")
    decoder = plain_decoder(Small)
    decoder.save(tmp_path / "d.safetensors")
    rig = Outlets(
        OutletSettings(
            rig=unique, unit_labels=("u",), n_factors=3, bin_width=WIDTH, n_bins=5, hop=1,
            model_hash="c0ffee", engine="native", number_format="int16", input_source="S",
        )
    )  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, str(EXAMPLES / f"{example}.py"), unique, str(tmp_path / "d.safetensors")],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
    )  # fmt: skip
    try:
        until(rig._factors.have_consumers, 60)
        time.sleep(0.5)
        rng = np.random.default_rng(0)
        factors = rng.normal(size=(400, 3)).astype(np.float32)
        stamps = pylsl.local_clock() + WIDTH * np.arange(400)
        sent = 0

        def push():
            nonlocal sent
            rig.push_sliding(factors[sent : sent + 1], None, stamps[sent : sent + 1])
            sent += 1

        # ezmsg opens its outlet with the first message, before anyone can listen.
        push()
        listener = pylsl.StreamInlet(
            pylsl.resolve_byprop("name", f"{unique} MyBehaviour", timeout=30)[0]
        )
        listener.open_stream(10)
        time.sleep(0.2)
        for _ in range(20):
            push()
            time.sleep(0.01)
        rows, at = [], []
        end = time.monotonic() + 10
        while len(at) < 20 and time.monotonic() < end:
            more, when = listener.pull_chunk(0.1)
            rows += more
            at += when
        assert process.poll() is None, process.stderr.read()
    finally:
        process.kill()
        process.communicate()
        rig.close()
    running = decoder.start()
    expected = {stamps[k]: running(factors[k]).copy() for k in range(sent)}
    assert len(at) >= 20
    for row, when in zip(rows, at, strict=True):
        # A message of ezmsg has one stamp, that of its first sample, and a step.
        nearest = min(expected, key=lambda t: abs(t - when))
        assert abs(nearest - when) < 1e-6
        np.testing.assert_allclose(row, expected[nearest], rtol=1e-5, atol=1e-5)
