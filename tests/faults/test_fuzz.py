"""Bytes of any kind to each parser of a file or a stream: read, or refused, never anything else.

Each parser is given damaged copies of what it reads, and random bytes. ``--fuzz-cases=N`` tries N
of each, ``--fuzz-minutes=M`` others for so long (``make fuzz MINUTES=10``); by default it is a
short form. What a case may take at most is asserted: memory always, time as a bound that only a
hang would break. A parser that the package itself keeps in a process of its own may hang or end
that one; such cases are counted, and kept.
"""

import math
import random
import time
from collections import Counter

import pytest
from faults.fuzzing import tried
from faults.parsers import PARSERS

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


@pytest.mark.parametrize("parser", PARSERS)
def test_damaged_input_is_read_or_refused(parser, tmp_path, request, record_property):
    n_cases = request.config.getoption("--fuzz-cases") or PARSERS[parser].n_cases
    minutes = request.config.getoption("--fuzz-minutes")
    until = math.inf if minutes is None else time.monotonic() + 60.0 * minutes
    # The short form tries the same cases each time, the long one others.
    rng = random.Random(f"{parser} {n_cases}" if minutes is None else time.time_ns())
    seeds = [PARSERS[parser].seed(tmp_path)]
    path = tmp_path / "case"
    found: Counter[str] = Counter()
    with tried(parser) as try_case:
        while found.total() < n_cases if minutes is None else time.monotonic() < until:
            path.write_bytes(damaged(rng, seeds))
            outcome = try_case(path)
            found[outcome.kind] += 1
            if outcome.kind == "ended":
                path.replace(tmp_path / f"ended {found['ended']} {outcome.said}")
            assert outcome.kind != "neither", f"{path} is neither read nor refused: {outcome.said}"
            assert outcome.kind != "refused" or outcome.said, f"{path} is refused without a reason"
            assert outcome.memory < MOST, path
    assert found["refused"] > 0.1 * found.total()
    record_property("cases", found.total())
    record_property("ended", found["ended"])


@pytest.mark.parametrize("text", ["[" * 5000, '{"state":' * 5000, "\0", '{"state":1e999}'])
def test_hostile_status_is_no_message(text):
    run_state = pytest.importorskip("bci_lfads_gui.model.run_state")
    assert run_state.parse(text) is None
