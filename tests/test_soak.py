"""How a soak is judged and told."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from bci_lfads.soak import Load, Measured, checks
from bci_lfads.soak.verdict import jitter, machine

TABLE = Path(__file__).parent.parent / "benchmarks" / "soak_table.py"


def measured(load: Load, **changes) -> Measured:
    """Return what a soak without fault measures, but for `changes`."""
    n = round(load.seconds / load.bin_width)
    ends = 100.0 + load.bin_width * np.arange(n)
    spikes = {"received": 1000, "kept": 1000, "unordered": 3, "late": 0}
    counters = {"spikes": spikes, "dropped": 0, "engine_errors": 0, "windows": n}
    times = {"n": n, "median": 0.2, "p99": 0.3, "max": 1.0}
    status = {
        "state": "stopped", "cause": "asked", "reason": "asked to stop", "counters": counters,
        "arrival_ms": times, "engine_ms": times, "latency_ms": times,
    }  # fmt: skip
    found = {
        "pushed": 1000, "late": 0.001, "status": status, "ended": 0, "stamps": ends, "ends": ends,
        "closed": ends + 0.0203, "pushed_at": ends + 0.0206,
        "memory": np.full(round(load.seconds), 10**8), "busy": np.full(round(load.seconds), 1.5),
    }  # fmt: skip
    return Measured(**found | changes)


SHORT, LONG = Load(seconds=60.0), Load(seconds=1800.0)


def verdicts(load: Load, **changes) -> dict[str, str]:
    return {c.what: c.verdict for c in checks(load, measured(load, **changes))}


def test_a_soak_without_fault_is_well():
    assert set(verdicts(LONG).values()) == set(verdicts(SHORT).values()) == {"ok"}


@pytest.mark.parametrize(("load", "verdict"), [(SHORT, "note"), (LONG, "fail")])
def test_drift_is_judged_in_a_long_soak_and_told_in_a_short_one(load, verdict):
    m = measured(load)
    seconds = np.arange(len(m.memory))
    assert verdicts(load, memory=m.memory + 2000 * seconds)["memory"] == (
        "ok" if load is SHORT else "fail"
    )
    assert verdicts(load, memory=m.memory + 100_000 * seconds)["memory"] == verdict
    slower = m.ends + np.linspace(0.02, 0.03, len(m.ends))
    assert verdicts(load, pushed_at=slower)["latency"] == verdict


def test_what_is_lost_is_a_fault_however_short_the_soak():
    assert verdicts(SHORT, pushed=1001)["spikes"] == "fail"
    late = json.loads(json.dumps(measured(SHORT).status))
    late["counters"]["spikes"] |= {"kept": 999, "late": 1}
    assert verdicts(SHORT, status=late)["spikes"] == "fail"
    m = measured(SHORT)
    ends, fewer = m.ends, {k: getattr(m, k)[1:] for k in ("ends", "closed", "pushed_at")}
    assert verdicts(SHORT, **fewer)["windows"] == "fail"
    assert verdicts(SHORT, stamps=np.delete(ends, 7))["bins"] == "fail"
    assert verdicts(SHORT, ended=1)["loop"] == "fail"


def test_the_page_says_what_was_found(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(TABLE.parent))
    spec = importlib.util.spec_from_file_location("soak_table", TABLE)
    table = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(table)
    m = measured(SHORT, pushed=1001)
    result = {
        "load": vars(SHORT), "machine": machine(m), "status": m.status,
        "checks": [vars(c) for c in checks(SHORT, m)],
        "jitter": {what: dict(rows) for what, rows in jitter(SHORT, m).items()},
        "resident_bytes": m.memory.tolist(),
    }  # fmt: skip
    file, page = tmp_path / "soak.json", tmp_path / "page.md"
    file.write_text(json.dumps(result))
    page.write_text(f"before\n{table.BEGIN}\nwhat was there\n{table.END}\nafter\n")
    for _ in range(2):
        monkeypatch.setattr(
            sys, "argv", ["soak_table.py", str(file), "--page", str(page), "--beside", "idle"]
        )
        table.main()
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "what was there" not in text
    assert "| spikes | **failed** | 1001 pushed, 1000 received, 1000 in bins |" in text
    assert "load average 1.5 to 1.5, median 1.5; idle." in text
    assert "| 0.25 to 0.5 ms | 6,000 | 6,000 |" in text
