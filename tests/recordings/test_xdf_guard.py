"""Damaged XDF files: cut off, altered and forged; read rightly or refused, never more."""

import logging
import random
import resource
import struct
import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from xdf_bytes import HEADER, chunk, number, offset, samples, small, stream_header, xdf

from bci_lfads.errors import RecordingError
from bci_lfads.recordings import read
from bci_lfads.recordings.xdf_guard import inspect_xdf

WHOLE = small()
STRINGS = stream_header(1, "M", "Markers", 1, 0, "string")
NUMBERS = stream_header(1, "S", "Spikes", 1, 0, "int16")
ONE = struct.pack("<I", 1)


def put(folder: Path, content: bytes) -> Path:
    path = folder / "damaged.xdf"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"XDF;", "unknown format"),
        (b"XDF:", "cut off within its file header"),
        (b"XDF:" + chunk(1, HEADER)[:-3], "cut off within its file header"),
        (b"XDF:" + NUMBERS, "FileHeader"),
        (xdf(chunk(1, HEADER)), "FileHeader"),
        (b"XDF:" + chunk(1, b"<info>"), "cannot be parsed"),
        (xdf(b"\x03abc"), "its length has 3 bytes"),
        (xdf(number(1) + b"\0"), "at least 2"),
        (xdf(chunk(9, b"")), "tag 9"),
        (xdf(chunk(3, b"\1\0")), "too short for a stream number"),
        (xdf(samples(1, "int16", [(0.0, (1,))])), "no header before it"),
        (xdf(offset(1, 0.0, 0.0)), "no header before it"),
        (xdf(NUMBERS, NUMBERS), "has a header already"),
        (xdf(stream_header(1, "S", "", 1, 0, "int24")), "channel format 'int24'"),
        (xdf(stream_header(1, "S", "", -1, 0, "int16")), "-1 channels"),
        (xdf(stream_header(1, "S", "", 10**9, 0, "int16")), "1000000000 channels"),
        (xdf(stream_header(1, "S", "", 1, -5, "int16")), "rate of -5"),
        (xdf(stream_header(1, "S", "", 1, float("nan"), "int16")), "rate of nan"),
        (xdf(stream_header(1, "", "", 1, 0, "int16")), "does not say its name"),
        (xdf(chunk(2, ONE + b"<stream/>")), "is <stream>, not <info>"),
        (
            xdf(chunk(2, ONE + b"<!DOCTYPE a [<!ENTITY b 'c'>]><info>&b;</info>")),
            "declares entities",
        ),
        (xdf(NUMBERS, chunk(3, ONE + number(2**62, 8))), "more than it has bytes"),
        (xdf(NUMBERS, chunk(3, ONE + number(2**31))), "more than it has bytes"),
        (xdf(NUMBERS, chunk(3, ONE + number(1) + b"\0\1\0\0")), "take 14 bytes"),
        (xdf(NUMBERS, chunk(3, ONE + number(1) + b"\5\1\0")), "time stamp within it"),
        (xdf(STRINGS, chunk(3, ONE + number(1) + b"\0" + number(9) + b"abc")), "chunk has"),
        (xdf(STRINGS, chunk(3, ONE + number(1) + b"\0\7abc")), "length within it"),
        (xdf(NUMBERS, chunk(4, ONE + b"\0" * 8)), "not 22"),
        (xdf(NUMBERS, offset(1, float("nan"), 0.0)), "offset 0.0 s at nan"),
        (xdf(NUMBERS, *(offset(1, -float(i), 0.0) for i in range(1_100))), "resets"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, content, says):
    with pytest.raises(RecordingError, match=says):
        read(put(tmp_path, content))


def test_stamps_that_are_no_numbers_are_refused(tmp_path):
    content = xdf(NUMBERS, samples(1, "int16", [(float("nan"), (1,))]))
    with pytest.raises(RecordingError, match="0 usable time stamps"):
        read(put(tmp_path, content))


def test_a_file_cut_off_anywhere_is_read_up_to_there(tmp_path, caplog):
    """What is read from any head of a file is a head of what is read from the whole."""
    full = read(put(tmp_path, WHOLE))
    header_end = len(xdf())
    seen = set()
    for length in range(header_end, len(WHOLE)):
        path = put(tmp_path, WHOLE[:length])
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            if not inspect_xdf(path).streams:
                with pytest.raises(RecordingError, match="no streams"):
                    read(path)
                continue
            part = read(path)
        n = part.n_spikes
        labels = [part.unit_labels[i] for i in part.spikes.units]
        assert labels == [full.unit_labels[i] for i in full.spikes.units[:n]]
        seen.add((n, len(part.markers.labels)))
        assert inspect_xdf(path).cut_off == 0 or "bytes are lost" in caplog.text
    assert seen == {(0, 0), (2, 0), (2, 2), (4, 2)}


def test_a_wrong_length_is_told_from_a_file_cut_off(tmp_path):
    content = bytearray(WHOLE)
    at = WHOLE.index(samples(1, "int16", [])[5:7] + ONE)  # the first Samples chunk's tag
    content[at - 1] = 0x7F  # most significant byte of its length
    with pytest.raises(RecordingError, match="further chunks follow"):
        read(put(tmp_path, bytes(content)))


def read_or_refuse(path: Path) -> None:
    with suppress(RecordingError):
        read(path)


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    flips=st.lists(
        st.tuples(st.integers(4, len(WHOLE) - 1), st.integers(1, 255)), min_size=1, max_size=5
    ),
    cut=st.none() | st.integers(4, len(WHOLE)),
)
def test_flipped_bytes_never_do_more_than_a_refusal(tmp_path, flips, cut):
    content = bytearray(WHOLE)
    for at, mask in flips:
        content[at] ^= mask
    read_or_refuse(put(tmp_path, bytes(content[:cut])))


def test_every_byte_altered(tmp_path):
    rng = random.Random(1)
    for at in range(4, len(WHOLE)):
        content = bytearray(WHOLE)
        content[at] ^= rng.randrange(1, 256)
        read_or_refuse(put(tmp_path, bytes(content)))


FORGED = {
    "samples": xdf(NUMBERS, chunk(3, ONE + number(2**40, 8) + b"\0" * 100)),
    "chunk": xdf(NUMBERS, number(2**40, 8) + b"\3\0" + b"\0" * 100),
    "strings": xdf(STRINGS, chunk(3, ONE + number(1) + b"\0" + number(2**40, 8) + b"\0" * 9)),
    "channels": xdf(stream_header(1, "S", "", 2**31, 0, "double64")),
    "entities": xdf(
        chunk(
            2,
            ONE
            + b"<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'>"
            + b"".join(
                f"<!ENTITY {chr(98 + i)} '{f'&{chr(97 + i)};' * 10}'>".encode() for i in range(9)
            )
            + b"]><info><name>&j;</name></info>",
        )
    ),
    "nesting": xdf(chunk(2, ONE + b"<info>" + b"<a>" * 100_000 + b"</a>" * 100_000 + b"</info>")),
    "gaps": xdf(
        stream_header(1, "C", "SpikeCounts", 1, 1000.0, "int16"),
        samples(1, "int16", [(0.0, (1,)), (1e15, (1,))]),
    ),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_size_neither_hangs_nor_eats_memory(tmp_path, name):
    path = put(tmp_path, FORGED[name])
    code = textwrap.dedent(
        """
        import sys
        from bci_lfads.errors import RecordingError
        from bci_lfads.recordings import read
        try:
            read(sys.argv[1])
        except RecordingError as error:
            sys.stderr.write(str(error))
            sys.exit(7)
        """
    )

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
        resource.setrlimit(resource.RLIMIT_CPU, (20, 20))

    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        preexec_fn=limit, capture_output=True, text=True, timeout=60, check=False,
        cwd=Path(__file__).resolve().parents[2], env={"OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    # A chunk that is longer than the file is what a killed recorder leaves.
    assert done.returncode == (0 if name == "chunk" else 7), done.stderr


@pytest.mark.timeout(30)
def test_the_walk_is_linear(tmp_path):
    """A walk sample by sample, or one that looks back, would take minutes."""
    block = samples(1, "float32", [(float(i), (1, 2, 3, 4)) for i in range(1_000)])
    path = put(tmp_path, xdf(stream_header(1, "X", "", 4, 0, "float32"), block * 4_000))
    assert inspect_xdf(path).streams[1].n_samples == 4_000_000
