"""What a soak found, as docs/reliability.md has it: ``soak_table.py SOAK.json [--page PAGE]``.

The file is of ``bci-lfads soak -o SOAK.json``. With a page, the part between its two marks is
written anew; else it is printed.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from common import markdown

BEGIN, END = "<!-- written from a soak: begin -->", "<!-- written from a soak: end -->"


def main() -> None:
    """Print the part, or write it to a page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--beside", default="", help="what else the machine did, in words")
    asked = parser.parse_args()
    text = report(json.loads(asked.file.read_text()), asked.beside)
    if asked.page is None:
        sys.stdout.write(text)
        return
    before, rest = asked.page.read_text().split(BEGIN)
    after = rest.split(END)[1]
    asked.page.write_text(f"{before}{BEGIN}\n{text}{END}{after}")


def report(found: dict[str, Any], beside: str = "") -> str:
    """Return the part of the page."""
    load, status = found["load"], found["status"]
    latencies = (
        ("spike's stamp to taken in", "arrival_ms"),
        ("engine", "engine_ms"),
        ("window closed to factors pushed", "latency_ms"),
    )
    said = (
        f"{load['seconds']:,.0f} s of {load['n_units']:,} units at {load['rate']:g} Hz, hold-off "
        f"{1e3 * load['hold_off']:g} ms"
    )
    parts = [
        "; ".join(part for part in (said, _machine(found.get("machine")), beside) if part) + ".",
        markdown([
            ("what", "verdict", "found"),
            *((c["what"], _verdict(c["verdict"]), c["found"]) for c in found["checks"]),
        ]),
        markdown([
            ("ms", "n", "median", "p99", "max"),
            *((what, *(f"{status[key][k]:,}" for k in ("n", "median", "p99", "max")))
              for what, key in latencies),
        ]),
        "Percentiles are of the newest 4,096, n and max of all. All windows, by how late:",
        _histograms(found["jitter"]),
        _memory(found["resident_bytes"]),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _verdict(verdict: str) -> str:
    return "**failed**" if verdict == "fail" else verdict


def _machine(facts: dict[str, Any] | None) -> str:
    if facts is None:
        return ""
    average = facts["load_average"]
    priority = facts["real_time_priority"] or f"none, nice {facts['nice']}"
    return (
        f"{facts['processors']} processors, real-time priority: {priority}; load average "
        f"{average['least']} to {average['most']}, median {average['median']}"
    )


def _histograms(jitter: dict[str, dict[str, int]]) -> str:
    spans = {span for spans in jitter.values() for span in spans}
    return markdown([
        ("", *jitter),
        *((span, *(f"{spans.get(span, 0):,}" for spans in jitter.values()))
          for span in sorted(spans, key=lambda span: float(span.split()[0]))),
    ])  # fmt: skip


def _memory(resident: list[int]) -> str:
    every = max(1, len(resident) // 7)
    at = range(min(10, len(resident) - 1), len(resident), every)
    told = ", ".join(f"{resident[k] / 1e6:.1f} ({k} s)" for k in at)
    return f"Resident memory of the loop, MB: {told}."


if __name__ == "__main__":
    main()
