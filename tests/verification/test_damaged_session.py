"""Sessions that are damaged where an XDF file's own structure does not show it."""

import re

import pytest
from faults.parsers import of_session

from bci_lfads.errors import RecordingError
from bci_lfads.verification.session import load_runs


@pytest.fixture
def session(tmp_path):
    """Return what writes a session in which every match of a pattern reads otherwise."""
    content = of_session(tmp_path)
    path = tmp_path / "session.xdf"

    def write(pattern: bytes, junk: bytes):
        changed, n = re.subn(pattern, lambda m: junk.ljust(len(m[0])), content)
        assert n
        path.write_bytes(changed)
        return path

    return write


def test_a_stream_that_does_not_say_when_it_was_made_is_one_that_may_be_of_any_run(session):
    (run,) = load_runs(session(rb"(?<=<created_at>)[0-9.]+", b"0 0"))
    assert run.factors is not None
    assert [message["state"] for message in run.status] == ["running", "stopped"]


@pytest.mark.parametrize(
    ("pattern", "junk", "says"),
    [
        (rb'\{"state":"stopped"\}', b'{"state":"stop', "no message on Status"),
        (rb'\{"state":"stopped"\}', b"[7]", "no message on Status"),
        (rb"(?<=<nominal_srate>)[0-9.]+", b"-1", "rate"),
    ],
)
def test_what_is_damaged_is_named(session, pattern, junk, says):
    with pytest.raises(RecordingError, match=says):
        load_runs(session(pattern, junk))
