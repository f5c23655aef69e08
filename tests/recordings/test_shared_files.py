"""Every file beside the project: read with what is in it, or refused with the reason.

A process of its own reads them all, with bounded memory and time, since some of them were made
to make readers hang or eat memory.
"""

import json
import resource
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from bci_lfads.recordings import read

ROOT = Path(__file__).resolve().parents[2]
# Units, spikes, markers, and the names of the signals beside them.
READ = {
    "lorenz-tndm/lorenz.h5": (30, 1_774, 8, {"behaviour", "latents", "rates"}),
    "nwb-spikes/A8604-211122.nwb": (3, 21_354, 2, set()),
    "nwb-spikes/sub-4_ses-4_ecephys+image.nwb": (35, 214_278, 5_052, set()),
    "shenoy-delay-97u-1ms/ps4_realdata.mat": (97, 970_962, 1_456, set()),
    "xdf-example-files/clock_resets.xdf": (0, 0, 175, {"BioSemi"}),
    "xdf-example-files/empty_streams.xdf": (
        0, 0, 1,
        {"Data stream: test stream 0 counter", "Empty data stream: test stream 0 counter"},
    ),
    "xdf-example-files/minimal.xdf": (0, 0, 9, {"SendDataC"}),
}  # fmt: skip
REFUSED = {
    "published-lfads/keras_model.h5": "looks like a Keras model; use: bci-lfads model import",
    "xdf-rs-fuzz/chunk_length_lie.xdf": "too short for a stream number",
    "xdf-rs-fuzz/out_of_order_clock_offsets.xdf": "0 channels",
    "xdf-rs-fuzz/out_of_order_sample_chunk.xdf": "0 channels",
    "xdf-rs-fuzz/str_test.xdf": "take 54 bytes, the chunk has 60",
}
_CODE = """
import json, sys
from bci_lfads.errors import RecordingError
from bci_lfads.recordings import read, summary
for path in sys.stdin.read().splitlines():
    try:
        answer = summary(read(path))
    except RecordingError as error:
        answer = str(error)
    print(json.dumps([path, answer]), flush=True)
"""


def _limit():
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    resource.setrlimit(resource.RLIMIT_CPU, (60, 60))


@pytest.fixture(scope="module")
def answers(shared_data):
    """Return for each file its summary, or what it was refused with."""
    paths = sorted(str(p) for p in shared_data.rglob("*") if p.is_file())
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_CODE)],
        input="\n".join(paths), capture_output=True, text=True, timeout=120, check=False,
        preexec_fn=_limit, cwd=ROOT,
    )  # fmt: skip
    found = dict(json.loads(line) for line in done.stdout.splitlines())
    assert list(found) == paths, f"ended after {list(found)[-1:]}: {done.stderr}"
    return {str(Path(p).relative_to(shared_data)): answer for p, answer in found.items()}


@pytest.mark.parametrize("name", READ)
def test_is_read(answers, name):
    n_units, n_spikes, n_markers, series = READ[name]
    found = answers[name]
    assert isinstance(found, dict), found
    assert (found["n_units"], len(found["unit_labels"])) == (n_units, n_units)
    assert (found["n_spikes"], found["n_markers"]) == (n_spikes, n_markers)
    assert set(found["series"]) == series
    assert found["start"] < found["stop"]


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_with_the_reason(answers, name):
    assert isinstance(answers[name], str), answers[name]
    assert name in answers[name]
    assert REFUSED[name] in answers[name]


def test_no_other_file_holds_spikes_or_markers(answers):
    """Only notes and licences are left, and those are refused with what is accepted."""
    others = {name: a for name, a in answers.items() if name not in READ | REFUSED}
    assert [name for name, answer in others.items() if "unknown format" not in answer] == []


@pytest.mark.parametrize("name", ["minimal", "clock_resets"])
@pytest.mark.parametrize("part", [0.6, 0.9, 0.999])
@pytest.mark.timeout(60)
def test_a_real_file_cut_off_is_read_up_to_there(shared_data, tmp_path, name, part):
    whole = shared_data / f"xdf-example-files/{name}.xdf"
    content, full = whole.read_bytes(), read(whole)
    path = tmp_path / "cut.xdf"
    path.write_bytes(content[: int(part * len(content))])
    found = read(path)
    assert len(found.markers.labels) + len(found.series) > 0
    assert found.markers.labels == full.markers.labels[: len(found.markers.labels)]
    for signal, series in found.series.items():
        n = len(series.times)
        assert (series.values == full.series[signal].values[:n]).all()
