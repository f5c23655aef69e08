"""What all benchmarks say of the machine, and how they print."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path


def describe_machine() -> str:
    """Return in words what runs this, and how busy it is."""
    name, info = platform.processor() or platform.machine(), Path("/proc/cpuinfo")
    if info.exists():
        fields = dict(
            (part.strip() for part in line.split(":", 1))
            for line in info.read_text().split("\n\n")[0].splitlines()
            if ":" in line
        )
        family = f"family {fields.get('cpu family', '?')}, model {fields.get('model', '?')}"
        name = f"{fields.get('model name', name)} ({family})"
    load = f"{os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else "not known"
    return (
        f"{name}, {os.cpu_count()} processors; {platform.system()}, Python "
        f"{platform.python_version()}; load at the start: {load}"
    )


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first row is its head."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


def records(rows: Sequence[Mapping[str, object]]) -> str:
    """Return a Markdown table of rows that all have the same keys."""
    return markdown([list(rows[0]), *([str(v) for v in row.values()] for row in rows)])
